"""Optimizers with one average of the gradient: momentum and its relatives."""

import re

import optax

from dlcore.optim.rate import Shared, descend
from dlcore.trees import map_with_path


def sgd(shared: Shared, *, weight_decay: float = 0.0):
  """Follows the gradient (Robbins and Monro 1951)."""
  return descend(shared, weight_decay, optax.identity())


def momentum(
  shared: Shared, *, momentum: float = 0.9, weight_decay: float = 0.0
):
  """Follows a decaying sum of gradients (Polyak 1964)."""
  return descend(shared, weight_decay, optax.trace(momentum))


def nesterov(
  shared: Shared, *, momentum: float = 0.9, weight_decay: float = 0.0
):
  """Looks one step of the momentum ahead (Sutskever et al. 2013)."""
  return descend(shared, weight_decay, optax.trace(momentum, nesterov=True))


def lion(
  shared: Shared,
  *,
  b1: float = 0.9,
  b2: float = 0.99,
  weight_decay: float = 0.0,
):
  """Takes the sign of the momentum (Chen et al. 2023, arXiv:2302.06675).

  Its authors use a tenth to a third of Adam's rate, and 3 to 10 times its
  weight decay.
  """
  return descend(shared, weight_decay, optax.scale_by_lion(b1, b2))


def lars(
  shared: Shared,
  *,
  momentum: float = 0.9,
  trust: float = 0.001,
  weight_decay: float = 0.0,
):
  """Steps by a share of each layer's norm (You et al. 2017, arXiv:1708.03888).

  The decay lies before the trust ratio; parameters that are not decayed have
  no ratio either and follow the momentum.
  """
  ratio = optax.scale_by_trust_ratio(trust_coefficient=trust)
  return optax.chain(
    optax.add_decayed_weights(weight_decay, shared.decayed),
    optax.masked(ratio, shared.decayed),
    optax.trace(momentum),
    shared.rate,
  )


def muon(
  shared: Shared,
  *,
  momentum: float = 0.95,
  rms: float = 0.2,
  adam: str = r"(^|/)(embedding|head)(/|$)",
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Makes the momentum of matrices orthogonal (Jordan et al. 2024).

  Kernels `[Y, X, I, O]` of convolutions are matrices `[Y * X * I, O]`. Vectors,
  other shapes and the paths in which `adam` is found are updated by Adam with
  Nesterov's momentum (`b1`, `b2`). Scaled to `rms`, the steps of matrices are
  about as large as Adam's, so both can share one learning rate (Liu et al.
  2025, arXiv:2502.16982).
  """

  def dimensions(params):
    return map_with_path(
      lambda path, leaf: (
        None if re.search(adam, path) else MATRICES.get(leaf.ndim)
      ),
      params,
    )

  downwards = optax.contrib.muon(
    1.0,
    beta=momentum,
    eps=eps,
    adam_b1=b1,
    adam_b2=b2,
    muon_weight_dimension_numbers=dimensions,
    consistent_rms=rms,
  )
  return descend(shared, weight_decay, downwards, optax.scale(-1.0))


MATRICES = {
  2: optax.contrib.MuonDimensionNumbers(0, 1),
  4: optax.contrib.MuonDimensionNumbers((0, 1, 2), 3),
}
"""The axes of rows and columns, by the number of dimensions."""

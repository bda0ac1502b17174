"""Momentum, by itself, by its sign and as an orthogonal matrix.

The functions of one array return its direction, see `memory.decoupled`.
"""

import re

import numpy as np

from .adam import nadam
from .memory import average, norm, of_path


def trace(s, g, w, t, *, momentum=0.0, nesterov=False):
  """Sutskever et al. 2013, equations 1 to 4.

  Convention: the rate multiplies the velocity, as in PyTorch; in the paper the
  velocity sums gradients that were multiplied by their rates. Nesterov's
  weights are those at the point of the gradient, as in PyTorch.
  """
  s["v"] = momentum * s["v"] + g
  return momentum * s["v"] + g if nesterov else s["v"]


def polyak(s, g, w, t, *, momentum=0.9):
  """Polyak 1964, equation 9, see `trace`."""
  return trace(s, g, w, t, momentum=momentum)


def nesterov(s, g, w, t, *, momentum=0.9):
  """Sutskever et al. 2013, equations 3 and 4, see `trace`."""
  return trace(s, g, w, t, momentum=momentum, nesterov=True)


def lion(s, g, w, t, *, b1=0.9, b2=0.99):
  """Chen et al. 2023, Algorithm 2."""
  u = np.sign(b1 * s["m"] + (1 - b1) * g)
  average(s, "m", g, b2)
  return u


def muon(
  memory,
  gradients,
  weights,
  t,
  rate,
  decayed,
  *,
  adam_b1=0.9,
  adam_b2=0.999,
  adam_params=r"(^|/)(embedding|head)(/|$)",
  eps=1e-8,
  beta=0.95,
  consistent_rms=0.2,
  weight_decay=0.0,
):
  """Jordan et al. 2024; scaled as in Liu et al. 2025, equation 4.

  Convention: kernels [Y, X, I, O] are matrices [Y * X * I, O], the other arrays
  and those that `adam_params` matches are updated by `nadam`.
  """

  def direction(path, s, g):
    if g.ndim not in (2, 4) or re.search(adam_params, path):
      return nadam(s, g, None, t, b1=adam_b1, b2=adam_b2, eps=eps)
    return orthogonal(s, g, t, beta, eps, consistent_rms)

  return {
    path: -rate * direction(path, of_path(memory, path), g)
    - rate * weight_decay * weights[path] * (path in decayed)
    for path, g in gradients.items()
  }


def orthogonal(s, g, t, beta, eps, consistent_rms):
  """Returns muon's direction of one matrix.

  Convention: the momentum is an average whose bias is corrected as in `nadam`.
  """
  m = average(s, "m", g, beta) / (1 - beta ** (t + 1))
  m = (beta * m + (1 - beta) * g / (1 - beta**t)).reshape(-1, g.shape[-1])
  x = newton_schulz(m, eps)
  return consistent_rms * max(x.shape) ** 0.5 * x.reshape(g.shape)


def newton_schulz(x, eps=1e-8):
  """Returns five steps of Jordan et al. 2024 towards an orthogonal matrix."""
  x = x / (norm(x) + eps)
  for _ in range(5):
    square = x @ x.T
    x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
  return x

"""Optimizers by name: Optax transformations with Optax's argument names.

An entry is a function `(mask, scale_by_rates, *, settings) -> transformation`,
where `mask` maps the parameters to booleans, true where weight decay applies,
and `scale_by_rates` multiplies by the negative learning rate of each path. Its
signature has the settings with their defaults.

Weight decay is decoupled from the gradient for every optimizer
(arXiv:1711.05101), and 0 by default unless the name ends in w; `optim.penalty`
is the coupled one. A new entry is covered by the tests once it has a learning
rate in `tests/optim/test_learning.py`, and its settings a range in
`settings.RANGES`.
"""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlcore.errors import UserError
from dlcore.optim.schedule_free import (
  schedule_free_adamw,
  schedule_free_sgd,
)
from dlcore.optim.settings import Number, is_zero
from dlcore.trees import map_with_path
from dlcore.typing import Params, PyTree

Mask = Callable[[Params], PyTree]
Optimizer = Callable[..., optax.GradientTransformationExtraArgs]


def lamb(
  mask: Mask,
  scale_by_rates: optax.GradientTransformation,
  *,
  b1: Number = 0.9,
  b2: Number = 0.999,
  eps: Number = 1e-6,
  weight_decay: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """LAMB: Adam with a trust ratio (You et al. 2019, arXiv:1904.00962).

  The decay precedes the trust ratio. Parameters without decay have no trust
  ratio either and follow Adam.
  """
  return optax.chain(
    optax.scale_by_adam(b1, b2, eps),
    optax.add_decayed_weights(weight_decay, mask),
    optax.masked(optax.scale_by_trust_ratio(), mask),
    scale_by_rates,
  )


def lars(
  mask: Mask,
  scale_by_rates: optax.GradientTransformation,
  *,
  trust_coefficient: Number = 0.001,
  momentum: Number = 0.9,
  nesterov: bool = False,
  weight_decay: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """LARS: momentum with a trust ratio (You et al. 2017, arXiv:1708.03888).

  The decay precedes the trust ratio. Parameters without decay have no trust
  ratio either and follow the momentum.
  """
  ratio = optax.scale_by_trust_ratio(trust_coefficient=trust_coefficient)
  return optax.chain(
    optax.add_decayed_weights(weight_decay, mask),
    optax.masked(ratio, mask),
    _trace(momentum, nesterov),
    scale_by_rates,
  )


def prodigy(
  mask: Mask,
  scale_by_rates: optax.GradientTransformation,
  *,
  betas: Sequence[Number] = (0.9, 0.999),
  eps: Number = 1e-8,
  estim_lr0: Number = 1e-6,
  weight_decay: Number = 0.0,
) -> optax.GradientTransformationExtraArgs:
  """Prodigy: Adam that estimates its rate (Mishchenko and Defazio 2023).

  arXiv:2306.06101. The learning rate is a factor of the estimate, usually 1.
  Unlike Optax's it does not enter the estimate, which is a lower bound of the
  distance to the solution for any weights. The decay is multiplied by the
  estimate, as the update is.
  """
  if not isinstance(betas, Sequence) or len(betas) != 2:
    raise UserError("expected betas to be two numbers", f"got {betas!r}")
  b1, b2 = betas
  inner: Any = optax.contrib.prodigy(
    1.0, (b1, b2), eps=eps, estim_lr0=estim_lr0
  )

  def init(params):
    # The state holds the initial parameters: a copy, so that both can be
    # donated.
    return inner.init(jax.tree.map(jnp.copy, params))

  def update(updates, state, params: Any = None):
    updates, new_state = inner.update(updates, state, params)
    # The estimate is 0 / 0 until the first gradient that is not 0.
    finite = jnp.isfinite(new_state.estim_lr)
    updates = jax.tree.map(lambda leaf: jnp.where(finite, -leaf, 0), updates)
    estimate = jnp.where(finite, new_state.estim_lr, state.estim_lr)
    if not is_zero(weight_decay):
      decay = optax.add_decayed_weights(weight_decay * estimate, mask)
      updates, _ = decay.update(updates, decay.init(params), params)
    return updates, new_state._replace(estim_lr=estimate)

  return optax.chain(optax.GradientTransformation(init, update), scale_by_rates)


def _decoupled(
  direction: Callable[..., optax.GradientTransformation],
  *,
  weight_decay: float = 0.0,
  **defaults: Any,
) -> Optimizer:
  """Returns an entry that adds decay to `direction(**settings)`, then scales.

  Args:
    direction: makes a transformation to an ascent direction.
    weight_decay: default of the entry's setting.
    **defaults: settings of `direction` with their defaults.
  """
  defaults["weight_decay"] = weight_decay

  def optimizer(mask, scale_by_rates, **settings):
    settings = defaults | settings
    decay = optax.add_decayed_weights(settings.pop("weight_decay"), mask)
    return optax.chain(direction(**settings), decay, scale_by_rates)

  required = inspect.signature(optimizer).parameters
  keywords = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
    for name, default in defaults.items()
  ]
  source = getattr(direction, "func", direction)  # of a partial
  optimizer.__doc__ = inspect.getdoc(source)
  optimizer.__dict__["__signature__"] = inspect.Signature(
    [required["mask"], required["scale_by_rates"], *keywords]
  )
  return optimizer


def _trace(
  momentum: Number, nesterov: bool = False
) -> optax.GradientTransformation:
  if is_zero(momentum):
    return optax.identity()
  return optax.trace(momentum, nesterov)


def _rmsprop(*, decay, eps, initial_scale, momentum, nesterov):
  # Optax applies the momentum after the learning rate. Not centered: by
  # rounding, the mean square minus the square of the mean may be negative, and
  # its root NaN.
  return optax.chain(
    optax.scale_by_rms(decay, eps, initial_scale), _trace(momentum, nesterov)
  )


def _adafactor(
  *,
  min_dim_size_to_factor,
  decay_rate,
  multiply_by_parameter_scale,
  clipping_threshold,
  momentum,
  eps,
):
  scale = optax.scale_by_param_block_rms()
  average = optax.ema(momentum, debias=False)
  return optax.chain(
    optax.scale_by_factored_rms(
      decay_rate=decay_rate,
      min_dim_size_to_factor=min_dim_size_to_factor,
      epsilon=eps,
    ),
    optax.clip_by_block_rms(clipping_threshold),
    scale if multiply_by_parameter_scale else optax.identity(),
    optax.identity() if is_zero(momentum) else average,
  )


def _muon(*, adam_params, **settings):
  """Orthogonalizes the momentum of matrices.

  Vectors, other shapes and the paths that match `adam_params` are updated by
  Adam with Nesterov momentum. Scaled to `consistent_rms`, the updates of
  matrices are about as large as Adam's, so that both can share one learning
  rate.
  """
  # Axes of rows and columns by the number of dimensions: kernels [Y, X, I, O]
  # are matrices [Y * X * I, O].
  matrices = {
    2: optax.contrib.MuonDimensionNumbers(0, 1),
    4: optax.contrib.MuonDimensionNumbers((0, 1, 2), 3),
  }

  def dimension_numbers(params):
    return map_with_path(
      lambda path, leaf: (
        None if re.search(adam_params, path) else matrices.get(leaf.ndim)
      ),
      params,
    )

  descent = optax.contrib.muon(
    1.0, muon_weight_dimension_numbers=dimension_numbers, **settings
  )
  return optax.chain(descent, optax.scale(-1.0))


OPTIMIZERS: dict[str, Optimizer] = {
  # Zhuang et al. 2020, arXiv:2010.07468.
  "adabelief": _decoupled(
    optax.scale_by_belief, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16
  ),
  # Zeiler 2012, arXiv:1212.5701. The paper's learning rate is 1.
  "adadelta": _decoupled(optax.scale_by_adadelta, rho=0.9, eps=1e-6),
  # Row and column sums; Shazeer and Stern 2018, arXiv:1804.04235.
  "adafactor": _decoupled(
    _adafactor,
    min_dim_size_to_factor=128,
    decay_rate=0.8,
    multiply_by_parameter_scale=True,
    clipping_threshold=1.0,
    momentum=0.0,
    eps=1e-30,
  ),
  # Duchi et al. 2011.
  "adagrad": _decoupled(
    optax.scale_by_rss, initial_accumulator_value=0.1, eps=1e-7
  ),
  # Kingma and Ba 2014, arXiv:1412.6980.
  "adam": _decoupled(optax.scale_by_adam, b1=0.9, b2=0.999, eps=1e-8),
  # The infinity norm; section 7 of arXiv:1412.6980.
  "adamax": _decoupled(optax.scale_by_adamax, b1=0.9, b2=0.999, eps=1e-8),
  # Loshchilov and Hutter 2017, arXiv:1711.05101.
  "adamw": _decoupled(
    optax.scale_by_adam, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4
  ),
  # Xie et al. 2022, arXiv:2208.06677.
  "adan": _decoupled(
    optax.scale_by_adan, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=1e-8
  ),
  # Adds a slow average; Pagliardini et al. 2024, arXiv:2409.03137.
  "ademamix": _decoupled(
    optax.contrib.scale_by_ademamix,
    b1=0.9,
    b2=0.999,
    b3=0.9999,
    alpha=5.0,
    eps=1e-8,
  ),
  # Taniguchi et al. 2024, arXiv:2411.02853. Its first update is 0.
  "adopt": _decoupled(
    optax.contrib.scale_by_adopt, b1=0.9, b2=0.9999, eps=1e-6
  ),
  # Reddi et al. 2018, arXiv:1904.09237.
  "amsgrad": _decoupled(optax.scale_by_amsgrad, b1=0.9, b2=0.999, eps=1e-8),
  "lamb": lamb,
  "lars": lars,
  # Chen et al. 2023, arXiv:2302.06675. Its authors use a tenth to a third of
  # Adam's learning rate, and 3 to 10 times its weight decay.
  "lion": _decoupled(optax.scale_by_lion, b1=0.9, b2=0.99),
  # Polyak 1964.
  "momentum": _decoupled(_trace, momentum=0.9),
  # Jordan et al. 2024; consistent_rms of Liu et al. 2025, arXiv:2502.16982.
  "muon": _decoupled(
    _muon,
    beta=0.95,
    eps=1e-8,
    adam_b1=0.9,
    adam_b2=0.999,
    adam_params=r"(^|/)(embedding|head)(/|$)",
    consistent_rms=0.2,
  ),
  # Nesterov momentum; Dozat 2016.
  "nadam": _decoupled(
    functools.partial(optax.scale_by_adam, nesterov=True),
    b1=0.9,
    b2=0.999,
    eps=1e-8,
  ),
  # Sutskever et al. 2013.
  "nesterov": _decoupled(
    functools.partial(_trace, nesterov=True), momentum=0.9
  ),
  # Ginsburg et al. 2019, arXiv:1905.11286. The paper's decay passes through
  # the momentum; this one follows it.
  "novograd": _decoupled(optax.scale_by_novograd, b1=0.9, b2=0.25, eps=1e-6),
  "prodigy": prodigy,
  # Liu et al. 2019, arXiv:1908.03265.
  "radam": _decoupled(optax.scale_by_radam, b1=0.9, b2=0.999, eps=1e-8),
  # Tieleman and Hinton 2012.
  "rmsprop": _decoupled(
    _rmsprop,
    decay=0.9,
    eps=1e-8,
    initial_scale=0.0,
    momentum=0.0,
    nesterov=False,
  ),
  "schedule_free_adamw": schedule_free_adamw,
  "schedule_free_sgd": schedule_free_sgd,
  # Robbins and Monro 1951.
  "sgd": _decoupled(_trace, momentum=0.0, nesterov=False),
  # Zaheer et al. 2018. Optax initializes the mean with the same value as the
  # mean square: with one above 0, a parameter without a gradient would move.
  "yogi": _decoupled(
    functools.partial(optax.scale_by_yogi, initial_accumulator_value=0.0),
    b1=0.9,
    b2=0.999,
    eps=1e-3,
  ),
}

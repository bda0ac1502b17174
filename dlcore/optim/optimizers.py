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

Tests compare every entry with its paper's formula in float64. Conventions that
differ from the paper or from PyTorch are named at the entry.

Optax computes the bias corrections `1 - b**t` in float32, and has no setting
for it. The updates of adabelief, adam, adamw, ademamix, lamb, nadam, yogi,
schedule_free_adamw and of muon's Adam are therefore inexact while t is below
about `1 / (1 - b2)`: by 1e-5 at b2=0.999, 1.1e-4 at 0.9999 and 7e-4 at 0.99999,
the largest of the first 10. With adan, prodigy and radam it is 2e-6 at most.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import optax

from dlcore.optim.adan import scale_by_adan
from dlcore.optim.muon import muon
from dlcore.optim.prodigy import prodigy
from dlcore.optim.radam import scale_by_radam
from dlcore.optim.schedule_free import schedule_free_adamw, schedule_free_sgd
from dlcore.optim.transformations import (
  adafactor,
  lamb,
  lars,
  rmsprop,
  trace,
)

Optimizer = Callable[..., optax.GradientTransformationExtraArgs]


def _decoupled(
  direction: Callable[..., optax.GradientTransformation],
  *,
  weight_decay: float = 0.0,
  **defaults: Any,
) -> Optimizer:
  """Returns an entry that adds decay to `direction(**settings)`, then scales.

  Args:
    direction: returns a transformation of gradients to a direction of ascent.
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


OPTIMIZERS: dict[str, Optimizer] = {
  # Zhuang et al. 2020, arXiv:2010.07468.
  "adabelief": _decoupled(
    optax.scale_by_belief, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16
  ),
  # Zeiler 2012, arXiv:1212.5701. The paper's learning rate is 1.
  "adadelta": _decoupled(optax.scale_by_adadelta, rho=0.9, eps=1e-6),
  # Row and column sums; Shazeer and Stern 2018, arXiv:1804.04235.
  "adafactor": _decoupled(
    adafactor,
    min_dim_size_to_factor=128,
    decay_rate=0.8,
    multiply_by_parameter_scale=True,
    clipping_threshold=1.0,
    momentum=0.0,
    eps=1e-30,
  ),
  # Duchi et al. 2011. Epsilon is inside of the root and the sum begins at 0.1,
  # as in TensorFlow; PyTorch adds epsilon to the root and begins at 0.
  "adagrad": _decoupled(
    optax.scale_by_rss, initial_accumulator_value=0.1, eps=1e-7
  ),
  # Kingma and Ba 2014, arXiv:1412.6980.
  "adam": _decoupled(optax.scale_by_adam, b1=0.9, b2=0.999, eps=1e-8),
  # The infinity norm; section 7 of arXiv:1412.6980. Epsilon is added to the
  # gradient, as in PyTorch; the paper has none.
  "adamax": _decoupled(optax.scale_by_adamax, b1=0.9, b2=0.999, eps=1e-8),
  # Loshchilov and Hutter 2017, arXiv:1711.05101.
  "adamw": _decoupled(
    optax.scale_by_adam, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4
  ),
  # Xie et al. 2022, arXiv:2208.06677. eps_root is Optax's, the paper has none.
  "adan": _decoupled(
    scale_by_adan, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=1e-8
  ),
  # Adds a slow average; Pagliardini et al. 2024, arXiv:2409.03137. Its alpha
  # and b3 are constant; the paper warms them up.
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
  # Reddi et al. 2018, arXiv:1904.09237, whose moments are not corrected for
  # their bias; Optax's and PyTorch's are.
  "amsgrad": _decoupled(
    functools.partial(
      optax.scale_by_amsgrad, bias_correction_mu=False, bias_correction_nu=False
    ),
    b1=0.9,
    b2=0.999,
    eps=1e-8,
  ),
  "lamb": lamb,
  "lars": lars,
  # Chen et al. 2023, arXiv:2302.06675. Its authors use a tenth to a third of
  # Adam's learning rate, and 3 to 10 times its weight decay.
  "lion": _decoupled(optax.scale_by_lion, b1=0.9, b2=0.99),
  # Polyak 1964.
  "momentum": _decoupled(trace, momentum=0.9),
  # Jordan et al. 2024; consistent_rms of Liu et al. 2025, arXiv:2502.16982. The
  # momentum is an average whose bias is corrected; the author's is a sum.
  "muon": _decoupled(
    muon,
    beta=0.95,
    eps=1e-8,
    adam_b1=0.9,
    adam_b2=0.999,
    adam_params=r"(^|/)(embedding|head)(/|$)",
    consistent_rms=0.2,
  ),
  # Nesterov momentum; Dozat 2016, with a constant b1 and without the further
  # factor b2 of the second moment. PyTorch's b1 follows a schedule.
  "nadam": _decoupled(
    functools.partial(optax.scale_by_adam, nesterov=True),
    b1=0.9,
    b2=0.999,
    eps=1e-8,
  ),
  # Sutskever et al. 2013.
  "nesterov": _decoupled(functools.partial(trace, nesterov=True), momentum=0.9),
  # Ginsburg et al. 2019, arXiv:1905.11286. The paper's decay passes through
  # the momentum; this one follows it.
  "novograd": _decoupled(optax.scale_by_novograd, b1=0.9, b2=0.25, eps=1e-6),
  "prodigy": prodigy,
  # Liu et al. 2019, arXiv:1908.03265. Rectified from a length of 5 on, in the
  # paper above 4.
  "radam": _decoupled(scale_by_radam, b1=0.9, b2=0.999, eps=1e-8),
  # Tieleman and Hinton 2012. Epsilon is inside of the root, as in TensorFlow;
  # PyTorch adds it to the root. The rate multiplies the momentum.
  "rmsprop": _decoupled(
    rmsprop,
    decay=0.9,
    eps=1e-8,
    initial_scale=0.0,
    momentum=0.0,
    nesterov=False,
  ),
  "schedule_free_adamw": schedule_free_adamw,
  "schedule_free_sgd": schedule_free_sgd,
  # Robbins and Monro 1951.
  "sgd": _decoupled(trace, momentum=0.0, nesterov=False),
  # Zaheer et al. 2018, with Adam's bias corrections. Optax initializes the mean
  # with the same value as the mean square: with one above 0, a parameter
  # without a gradient would move.
  "yogi": _decoupled(
    functools.partial(optax.scale_by_yogi, initial_accumulator_value=0.0),
    b1=0.9,
    b2=0.999,
    eps=1e-3,
  ),
}

"""The optimizers as their papers write them, in NumPy and float64.

`FORMULAS[name](memory, gradients, weights, t, rate, decayed, **settings)`
returns the change of each weight in update t = 1, 2, ... All but `memory`, a
`Memory` that the updates share, are dicts by path or numbers; `decayed` has the
paths with weight decay. The defaults of the settings are written once more.

Weight decay is decoupled, `w -= rate * decay * w` (Loshchilov and Hutter 2017,
Algorithm 2, whose schedule multiplier is the rate here, as in PyTorch), unless
a formula places it elsewhere. A line that begins with "Convention" names where
dlcore differs from the paper or from PyTorch on purpose.
"""

from collections.abc import Callable
from typing import Any

from . import adam, momentum, rate_free, squares, trust_ratios
from .memory import decoupled

FORMULAS: dict[str, Callable[..., dict[str, Any]]] = {
  "adabelief": decoupled(adam.adabelief),
  "adadelta": decoupled(squares.adadelta),
  "adafactor": decoupled(squares.adafactor),
  "adagrad": decoupled(squares.adagrad),
  "adam": decoupled(adam.adam),
  "adamax": decoupled(adam.adamax),
  "adamw": decoupled(adam.adam, weight_decay=1e-4),
  "adan": decoupled(adam.adan),
  "ademamix": decoupled(adam.ademamix),
  "adopt": decoupled(adam.adopt),
  "amsgrad": decoupled(adam.amsgrad),
  "lamb": trust_ratios.lamb,
  "lars": trust_ratios.lars,
  "lion": decoupled(momentum.lion),
  "momentum": decoupled(momentum.polyak),
  "muon": momentum.muon,
  "nadam": decoupled(adam.nadam),
  "nesterov": decoupled(momentum.nesterov),
  "novograd": decoupled(squares.novograd),
  "prodigy": rate_free.prodigy,
  "radam": decoupled(adam.radam),
  "rmsprop": decoupled(squares.rmsprop),
  "schedule_free_adamw": rate_free.schedule_free_adamw,
  "schedule_free_sgd": rate_free.schedule_free_sgd,
  "sgd": decoupled(momentum.trace),
  "yogi": decoupled(adam.yogi),
}

"""Optimizers by name: `(shared, *, settings) -> transformation`.

The decay is decoupled from the gradient for every optimizer, and 0 unless the
name ends in w; `optim.l2` is the coupled penalty. A new row is covered by the
tests once it has a learning rate there.
"""

import math

from dlcore.optim import adaptive, free, gradient, moments
from dlcore.optim.settings import (
  COUNT,
  DECAY,
  DIVISOR,
  NOT_NEGATIVE,
  POSITIVE,
  SHARE,
  Range,
)

OPTIMIZERS = {
  "adabelief": moments.adabelief,
  "adadelta": adaptive.adadelta,
  "adafactor": adaptive.adafactor,
  "adagrad": adaptive.adagrad,
  "adam": moments.adam,
  "adamax": moments.adamax,
  "adamw": moments.adamw,
  "adan": moments.adan,
  "ademamix": moments.ademamix,
  "adopt": moments.adopt,
  "amsgrad": moments.amsgrad,
  "lamb": moments.lamb,
  "lars": gradient.lars,
  "lion": gradient.lion,
  "momentum": gradient.momentum,
  "muon": gradient.muon,
  "nadam": moments.nadam,
  "nesterov": gradient.nesterov,
  "novograd": adaptive.novograd,
  "prodigy": free.prodigy,
  "radam": moments.radam,
  "rmsprop": adaptive.rmsprop,
  "schedule_free_adamw": free.schedule_free_adamw,
  "schedule_free_sgd": free.schedule_free_sgd,
  "sgd": gradient.sgd,
  "yogi": moments.yogi,
}

RANGES: dict[str, Range] = {
  "accumulator": NOT_NEGATIVE,
  "alpha": NOT_NEGATIVE,
  "b1": DECAY,
  "b2": DECAY,
  "b3": DECAY,
  "beta": Range("above 0 and below 1", lambda x: 1e-6 <= x <= 1 - 1e-6),
  "clip": POSITIVE,
  "d0": Range("from 1e-7 to 1", lambda x: 1e-7 <= x <= 1),
  "decay": DECAY,
  "eps": DIVISOR,
  "eps1": Range("of at least 1e-30", lambda x: 1e-30 <= x < math.inf),
  "exponent": SHARE,
  "factored_from": COUNT,
  "momentum": DECAY,
  "rms": POSITIVE,
  "trust": POSITIVE,
  "weight_decay": NOT_NEGATIVE,
}
"""What keeps updates finite for any gradient: settings of all optimizers."""

"""The ranges of the arguments of `fit`, and how they fit together."""

import math
import numbers
from collections.abc import Mapping
from typing import Any

from dlcore.data import Order
from dlcore.errors import UserError
from dlcore.training.decisions import Plateau

MAX_COUNT = 2**31 - 1
"""The greatest int32: steps and counts are numbers in compiled programs."""

RANGES: dict[str, tuple[float, float]] = {
  "steps": (1, MAX_COUNT),
  "seed": (0, 2**32 - 1),  # JAX would drop the higher bits.
  "batch_size": (1, MAX_COUNT),
  "ema": (0, 0.999_999_999),
  "accumulate": (1, MAX_COUNT),
  "patience": (0, MAX_COUNT),
  "min_delta": (0, math.inf),
  "spike_factor": (0, math.inf),
  "max_consecutive_skips": (1, MAX_COUNT),
  "max_rollbacks": (0, MAX_COUNT),
  "log_every": (0, MAX_COUNT),
  "layer_statistics_every": (0, MAX_COUNT),
  "eval_every": (0, MAX_COUNT),
  "checkpoint_every": (0, MAX_COUNT),
  "keep_every": (0, MAX_COUNT),
  "eval_batch_size": (1, MAX_COUNT),
  "workers": (0, MAX_COUNT),
  "steps_per_call": (0, MAX_COUNT),
  "memory_limit": (0, math.inf),
}
"""The least and the greatest value of the numbers that `fit` takes."""


REAL = ("ema", "min_delta", "spike_factor", "memory_limit")
"""The numbers that need not be integers."""


def check_ranges(arguments: Mapping[str, Any]) -> None:
  """Checks the arguments of `fit` that are numbers.

  Raises:
    UserError: one has another type, or is out of range.
  """
  for name, (least, greatest) in RANGES.items():
    value = arguments[name]
    kind, noun = numbers.Integral, "an integer"
    if name in REAL:
      kind, noun = numbers.Real, "a number"
    if not isinstance(value, kind) or isinstance(value, bool):
      raise UserError(f"expected {name} to be {noun}", f"got {value!r}")
    if not least <= value <= greatest:
      most = "" if greatest == math.inf else f" and at most {greatest}"
      raise UserError(
        f"expected {name} of at least {least}{most}", f"got {value}"
      )
  profile = arguments["profile"]
  if profile is not None and not 0 <= profile[0] < profile[1]:
    raise UserError(
      "expected profile as (first, last) with 0 <= first < last",
      f"got {profile}",
    )


def check_batch(
  order: Order, size: int, num_devices: int, accumulate: int
) -> None:
  """Checks that batches fit the data and divide into micro-batches.

  Raises:
    UserError: they do not.
  """
  if order.size > size:
    raise UserError(
      f"expected an order of the {size} training examples",
      f"got one of {order.size}",
    )
  batch_size = order.batch_size
  if batch_size > size:
    raise UserError(
      f"expected a batch of at most {size} examples, the whole training set",
      f"got batch_size={batch_size}",
      "choose a smaller batch",
    )
  share = batch_size // num_devices
  if share % accumulate:
    raise UserError(
      f"expected accumulate to divide the {share} examples of a device",
      f"got {accumulate}: {share} / {accumulate} = {share / accumulate:g}",
    )


def check_validation(
  valid: Any, patience: int, plateau: Plateau | None
) -> None:
  """Checks the plateau, and that there is a validation split to decide.

  Raises:
    UserError: a value is out of range, or there is no such split.
  """
  if plateau is not None:
    shares = (plateau.factor, plateau.min_scale)
    if plateau.patience < 1 or not all(0 <= share <= 1 for share in shares):
      raise UserError(
        "expected plateau with a patience of at least 1, and a factor and a "
        "min_scale from 0 to 1",
        f"got {plateau}",
      )
  names = {"patience": patience, "plateau": plateau}
  used = " and ".join(name for name, value in names.items() if value)
  if used and not valid:
    raise UserError(
      f"expected valid for {used}",
      f"got {valid}",
      "give a validation split, or leave the setting out",
    )


def check_progress(steps: int, step: int) -> None:
  """Checks that a run is not past `steps` already.

  Raises:
    UserError: it is.
  """
  if step > steps:
    raise UserError(
      f"expected steps of at least {step}, which the run has made",
      f"got {steps}",
      "choose another workdir, or undo the change",
    )

"""From settings to an Optax chain: clip, direction, decay, learning rate."""

import math
from collections.abc import Sequence

import optax

from dlcore.errors import UserError, lookup
from dlcore.optim.clipping import clipping
from dlcore.optim.free import evaluation_params
from dlcore.optim.optimizers import OPTIMIZERS, RANGES
from dlcore.optim.penalties import NO_DECAY, penalty
from dlcore.optim.rate import Shared, multipliers, scale_by_rate
from dlcore.optim.schedules import SCHEDULES
from dlcore.optim.schedules import create as schedule
from dlcore.optim.settings import NOT_NEGATIVE, Range, check, check_pattern
from dlcore.trees import map_with_path, select
from dlcore.typing import Schedule

__all__ = [
  "NO_DECAY",
  "OPTIMIZERS",
  "SCHEDULES",
  "create",
  "evaluation_params",
  "penalty",
  "schedule",
]

LAYER_DECAY = Range("above 0 and at most 1", lambda x: 0 < x <= 1)


def create(
  name: str,
  *,
  learning_rate: Schedule | float,
  clip_norm: float = 0.0,
  clip_value: float = 0.0,
  clip_layer: float = 0.0,
  clip_adaptive: float = 0.0,
  no_decay: str = NO_DECAY,
  rates: Sequence[tuple[str, float]] = (),
  layers: Sequence[str] = (),
  layer_decay: float = 1.0,
  **settings,
) -> optax.GradientTransformationExtraArgs:
  r"""Makes an optimizer that clips the gradient first.

  Its `update` takes an optional keyword `rate_scale`, a number (it may be
  traced) that multiplies the learning rate.

  Args:
    name: a key of `OPTIMIZERS`.
    learning_rate: a number, or a schedule `(step) -> number`.
    clip_norm: largest global norm of the gradient; 0 does not clip.
    clip_value: largest absolute value of an entry; 0 does not clip.
    clip_layer: largest norm of each array; 0 does not clip.
    clip_adaptive: largest norm relative to each unit's weights; 0 does not
      clip. See `clipping` for the order and the papers.
    no_decay: regex over parameter paths that weight decay leaves alone.
    rates: (regex over parameter paths, multiplier of the learning rate) pairs;
      the first that is found in a path counts, without any it is 1.
    layers: regexes over parameter paths, from the input to the output, such as
      `("embed", r"block_(\d+)", "head")`; see `rate.layer_multipliers`.
    layer_decay: the rate of a layer as a share of the next one's.
    **settings: keyword settings of the optimizer, `weight_decay` among them.

  Raises:
    UserError: the name is unknown, or a setting out of range.
  """
  optimizer = lookup(OPTIMIZERS, name, "optimizer")
  clips = {
    "clip_norm": clip_norm,
    "clip_value": clip_value,
    "clip_layer": clip_layer,
    "clip_adaptive": clip_adaptive,
  }
  check("optim", clips, dict.fromkeys(clips, NOT_NEGATIVE))
  check("optim", {"layer_decay": layer_decay}, {"layer_decay": LAYER_DECAY})
  check("optim", settings, RANGES)
  check_pattern("optim.no_decay", no_decay)
  check_pattern("optim.adam", settings.get("adam", ""))
  _check_rules(rates, layers, layer_decay)

  def decayed(params):
    rules = [(no_decay, False)] if no_decay else []
    return map_with_path(lambda path, _: select(rules, path, True), params)

  if not callable(learning_rate):
    learning_rate = optax.constant_schedule(learning_rate)
  rate = scale_by_rate(learning_rate, multipliers(rates, layers, layer_decay))
  update = optimizer(Shared(learning_rate, rate, decayed), **settings)
  return optax.chain(
    *clipping(
      value=clip_value, layer=clip_layer, adaptive=clip_adaptive, norm=clip_norm
    ),
    update,
  )


def _check_rules(rates, layers, layer_decay) -> None:
  """Refuses rules that are not of the form that `create` describes."""
  for rule in rates:
    match rule:
      case (str(pattern), int() | float() as factor) if 0 <= factor < math.inf:
        check_pattern("optim.rates", pattern)
      case _:
        raise UserError(
          "expected optim.rates of pairs: a regular expression, a factor >= 0",
          f"got {rates!r}",
          "write them as (('head', 10.0),)",
        )
  for pattern in layers:
    check_pattern("optim.layers", pattern)
  if layer_decay != 1 and not layers:
    raise UserError(
      "expected optim.layers, patterns of parameter paths from input to output",
      f"got none, with {layer_decay=}",
      r"write them as ('embed', r'block_(\d+)', 'head')",
    )

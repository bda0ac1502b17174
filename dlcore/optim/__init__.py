"""Optimizers: clipping, an Optax transformation, decay, the learning rate."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from dlcore.errors import UserError, check_names, check_pattern, lookup
from dlcore.optim.clipping import clipping
from dlcore.optim.learning_rate import (
  applied_rate,
  check_rules_match,
  inject_learning_rate,
  path_multipliers,
  scale_by_learning_rates,
  takes_rate_scale,
)
from dlcore.optim.optimizers import OPTIMIZERS
from dlcore.optim.penalties import NO_DECAY, penalty
from dlcore.optim.schedule_free import evaluation_params, is_schedule_free
from dlcore.optim.schedules import SCHEDULES
from dlcore.optim.schedules import create as schedule
from dlcore.optim.settings import (
  NOT_NEGATIVE,
  RANGES,
  Number,
  check,
)
from dlcore.optim.width_scaling import (
  Parameter,
  Scale,
  rate_rules,
  width_scales,
  with_initial_scales,
)
from dlcore.tracing import is_zero
from dlcore.trees import flatten, map_with_path, select
from dlcore.typing import Params, PyTree, Schedule

__all__ = [
  "NO_DECAY",
  "OPTIMIZERS",
  "RANGES",
  "SCHEDULES",
  "Parameter",
  "Scale",
  "applied_rate",
  "check",
  "create",
  "evaluation_params",
  "is_schedule_free",
  "penalty",
  "rate_rules",
  "schedule",
  "takes_rate_scale",
  "width_scales",
  "with_initial_scales",
]


def create(
  name: str,
  *,
  learning_rate: Schedule | Number | None = None,
  clip_norm: Number = 0.0,
  clip_value: Number = 0.0,
  clip_layer: Number = 0.0,
  clip_adaptive: Number = 0.0,
  no_decay: str = NO_DECAY,
  rates: Sequence[tuple[str, Number]] = (),
  layers: Sequence[str] = (),
  layer_decay: Number = 1.0,
  model_paths: Sequence[str] = (),
  path_rates: Mapping[str, float] | None = None,
  **settings: Any,
) -> optax.GradientTransformationExtraArgs:
  r"""Creates an optimizer.

  Its `update(grads, opt_state, params, *, step=None, rate_scale=1.0)` evaluates
  the schedule at `step` and multiplies the rate by `rate_scale`; both may be
  traced. Without `step` it counts its updates. `applied_rate(opt_state)` is the
  rate of the latest update.

  Every number may be a traced scalar, except the integers that set a shape.
  Concrete numbers are checked; a concrete 0 that turns a part off compiles to
  nothing, a traced 0 is a value.

  Args:
    name: a key of `OPTIMIZERS`.
    learning_rate: a number, or a schedule `(step) -> rate`; required.
    clip_norm: largest global norm of the gradient; 0 or infinity is off.
    clip_value: largest absolute value of an entry; 0 or infinity is off.
    clip_layer: largest norm of each array; 0 or infinity is off.
    clip_adaptive: largest norm relative to each unit's weights; 0 or infinity
      is off. See `clipping` for the order and the papers.
    no_decay: regex over the paths of parameters without weight decay; the
      empty string matches none.
    rates: (regex over parameter paths, multiplier of the learning rate) pairs;
      the first match within a path counts, without a match it is 1.
    layers: regexes over parameter paths, from the input to the output, such as
      `("embed", r"block_(\d+)", "head")`; see `layer_multipliers`.
    layer_decay: rate of a layer relative to the next layer's.
    model_paths: paths of all parameters of the model, if some are frozen: the
      patterns of `rates` and `layers` may match those alone.
    path_rates: further multipliers of the learning rate, by path, such as
      those of `rate_rules`.
    **settings: keyword settings of the optimizer, `weight_decay` among them.

  Raises:
    UserError: the name or an argument is unknown, or a setting out of range.
  """
  optimizer = lookup(OPTIMIZERS, name, "optimizer")
  known = _keywords(optimizer) | _keywords(create)
  check_names(f"optimizer {name!r}", settings, known)
  numbers = {
    "clip_norm": clip_norm,
    "clip_value": clip_value,
    "clip_layer": clip_layer,
    "clip_adaptive": clip_adaptive,
    "layer_decay": layer_decay,
  }
  check({**numbers, **settings}, name)
  check_pattern("no_decay", no_decay)
  check_pattern("adam_params", settings.get("adam_params", ""))
  _check_rules(rates, layers, layer_decay)

  def mask(params: Params) -> PyTree:
    rules = [(no_decay, False)] if no_decay else []
    return map_with_path(lambda path, _: select(rules, path, True), params)

  scale_by_rates = scale_by_learning_rates(
    path_multipliers(rates, layers, layer_decay, path_rates or {})
  )
  clips = clipping(
    clip_value=clip_value,
    clip_layer=clip_layer,
    clip_adaptive=clip_adaptive,
    clip_norm=clip_norm,
  )
  chain = optax.chain(*clips, optimizer(mask, scale_by_rates, **settings))
  whole = inject_learning_rate(_as_schedule(learning_rate), chain)

  def init(params: Params) -> PyTree:
    check_rules_match(rates, layers, [*flatten(params), *model_paths])
    return whole.init(params)

  return whole._replace(init=init)


def _keywords(function: Any) -> set[str]:
  """Returns the names of the keyword-only arguments."""
  parameters = inspect.signature(function).parameters.values()
  return {each.name for each in parameters if each.kind is each.KEYWORD_ONLY}


def _as_schedule(learning_rate: Schedule | Number | None) -> Schedule:
  if callable(learning_rate):
    return learning_rate
  check({"learning_rate": learning_rate})
  return lambda step: learning_rate


def _check_rules(
  rates: Sequence[tuple[str, Number]],
  layers: Sequence[str],
  layer_decay: Number,
) -> None:
  """Checks the form of the rules over paths.

  Raises:
    UserError: names the argument and shows its form.
  """
  for name, rules in (("rates", rates), ("layers", layers)):
    if not isinstance(rules, Sequence) or isinstance(rules, str):
      raise UserError(f"expected {name} to be a tuple", f"got {rules!r}")
  for rule in rates:
    match rule:
      case (str(pattern), jax.Array()):
        check_pattern("rates", pattern)
      case (str(pattern), int() | float() as factor) if NOT_NEGATIVE.holds(
        factor
      ):
        check_pattern("rates", pattern)
      case _:
        raise UserError(
          "expected rates to be pairs: a regular expression, a factor >= 0",
          f"got {rates!r}",
          "write them as (('head', 10.0),)",
        )
  for pattern in layers:
    check_pattern("layers", pattern)
  if not layers and not is_zero(layer_decay - 1):
    raise UserError(
      "expected layers, patterns of parameter paths from input to output",
      f"got layers={layers!r} with {layer_decay=}",
      r"write them as ('embed', r'block_(\d+)', 'head')",
    )

"""The learning rate: its clock, its record in the state, its multipliers."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlcore.errors import UserError, nearest
from dlcore.optim.settings import Number
from dlcore.trees import flatten, map_with_path, select
from dlcore.typing import Array, PyTree, Schedule


class LearningRateState(NamedTuple):
  """State of `inject_learning_rate`."""

  count: Array
  """Number of updates so far, int32."""
  learning_rate: Array
  """Rate of the latest update, float32; 0 before the first one."""
  inner_state: PyTree


def inject_learning_rate(
  learning_rate: Schedule, inner: optax.GradientTransformationExtraArgs
) -> optax.GradientTransformationExtraArgs:
  """Evaluates the schedule once per update and passes the rate to `inner`.

  `update(grads, state, params, *, step=None, rate_scale=1.0)` calls
  `inner.update(..., learning_rate=learning_rate(step) * rate_scale)`, a float32
  scalar. Without `step` the schedule reads the number of updates so far, which
  differs from the step of a loop that skips updates.

  Args:
    learning_rate: `(step) -> rate`.
    inner: a transformation whose `update` accepts `learning_rate`.
  """

  def init(params):
    return LearningRateState(
      jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32), inner.init(params)
    )

  def update(
    updates, state, params=None, *, step=None, rate_scale=1.0, **extra_args
  ):
    rate = learning_rate(state.count if step is None else step) * rate_scale
    rate = jnp.asarray(rate, jnp.float32)
    updates, inner_state = inner.update(
      updates, state.inner_state, params, learning_rate=rate, **extra_args
    )
    count = jnp.asarray(optax.safe_increment(state.count))
    return updates, LearningRateState(count, rate, inner_state)

  return optax.GradientTransformationExtraArgs(init, update)


def applied_rate(opt_state: PyTree) -> Array | None:
  """Returns the learning rate of the latest update, or None if not recorded.

  Args:
    opt_state: state of an optimizer made by `optim.create`, or of one wrapped
      by `optax.inject_hyperparams`; it may be nested in other states, of which
      the first one counts.

  Returns:
    A float32 scalar, `learning_rate * rate_scale` without the multipliers of
    single paths; 0 before the first update of `optim.create`'s optimizers.
  """

  def records_rate(node: Any) -> bool:
    if isinstance(node, optax.InjectStatefulHyperparamsState):
      return "learning_rate" in node.hyperparams
    return isinstance(node, LearningRateState)

  for node in jax.tree.leaves(opt_state, is_leaf=records_rate):
    if isinstance(node, LearningRateState):
      return jnp.asarray(node.learning_rate)
    if records_rate(node):
      return jnp.asarray(node.hyperparams["learning_rate"], jnp.float32)
  return None


def takes_rate_scale(opt_state: PyTree) -> bool:
  """Returns whether the optimizer uses the argument `rate_scale`.

  Those of `optim.create` do; a plain Optax one ignores it. For several in
  `optax.partition`, use `optim.create` for all or for none of them.
  """

  def is_state(node: Any) -> bool:
    return isinstance(node, LearningRateState)

  return any(map(is_state, jax.tree.leaves(opt_state, is_leaf=is_state)))


def scale_by_learning_rates(
  multipliers: Callable[[Iterable[str]], Mapping[str, Number]],
) -> optax.GradientTransformationExtraArgs:
  """Multiplies each update by `-learning_rate * multiplier` of its path.

  Its `update` requires the keyword `learning_rate`, a float32 scalar.

  Args:
    multipliers: `paths -> {path: multiplier}`, of the parameters.
  """

  def update(updates, state, params=None, **extra_args):
    del params
    rate = extra_args["learning_rate"]
    factors = multipliers(flatten(updates))

    def scale(path, update):
      return (-rate * factors[path] * update).astype(update.dtype)

    return map_with_path(scale, updates), state

  return optax.GradientTransformationExtraArgs(
    lambda params: optax.EmptyState(), update
  )


def path_multipliers(
  rates: Sequence[tuple[str, Number]],
  layers: Sequence[str],
  layer_decay: Number,
  path_rates: Mapping[str, Number],
) -> Callable[[Iterable[str]], dict[str, Number]]:
  """Returns a function `paths -> {path: multiplier of the learning rate}`.

  Args:
    rates: (regex, multiplier) pairs; the first match within a path counts.
    layers: as for `layer_multipliers`.
    layer_decay: as for `layer_multipliers`.
    path_rates: further multipliers of single paths.
  """

  def evaluate(paths: Iterable[str]) -> dict[str, Number]:
    by_layer = layer_multipliers(paths, layers, layer_decay)
    return {
      path: select(rates, path, 1.0)
      * by_layer[path]
      * path_rates.get(path, 1.0)
      for path in paths
    }

  return evaluate


def check_rules_match(
  rates: Sequence[tuple[str, Number]],
  layers: Sequence[str],
  paths: Collection[str],
) -> None:
  """Checks that the rules of `path_multipliers` match parameters.

  Args:
    rates: as for `path_multipliers`.
    layers: as for `layer_multipliers`.
    paths: of the parameters, frozen ones included.

  Raises:
    UserError: a pattern of `rates` matches none, such as a misspelled name of
      a layer, or no pattern of `layers` does.
  """

  def check_match(name: str, *patterns: str) -> None:
    if not any(re.search(p, path) for p in patterns for path in paths):
      raise UserError(
        f"expected the patterns of {name} to match parameters",
        f"got {', '.join(map(repr, patterns))}, which matches none",
        nearest(patterns[0], {path.split("/")[0] for path in paths}),
      )

  for pattern, _ in rates:
    check_match("rates", pattern)
  if layers:
    check_match("layers", *layers)


def layer_multipliers(
  paths: Iterable[str], layers: Sequence[str], layer_decay: Number
) -> dict[str, Number]:
  r"""Returns `layer_decay ** n` for paths n layers before the last layer.

  Clark et al. 2020, arXiv:2003.10555; Bao et al. 2021, arXiv:2106.08254.

  The order of layers does not follow from their names (`embed` comes after
  `block_0` in a sorted dict), so `layers` lists patterns from input to output.
  A path belongs to the first pattern that matches within it. A pattern with
  groups stands for as many layers as its groups have different matches,
  ordered as numbers: `("embed", r"block_(\d+)", "head")`. Paths without a match
  have multiplier 1. Layers without a path, such as frozen ones, do not count.
  """

  def layer_of(path: str) -> tuple:
    for index, pattern in enumerate(layers):
      if match := re.search(pattern, path):
        # Shorter numbers are smaller: block_2 comes before block_10.
        return (index, *((len(text), text) for text in match.groups("")))
    return ()

  by_path = {path: layer_of(path) for path in paths}
  order = sorted(set(by_path.values()) - {()}, reverse=True)
  return {
    path: layer_decay ** order.index(layer) if layer else 1.0
    for path, layer in by_path.items()
  }

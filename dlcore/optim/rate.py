"""The end of every optimizer: weight decay, then the learning rate by path."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from dlcore.trees import flatten, map_with_path, select
from dlcore.typing import Params, PyTree, Schedule


class Shared(NamedTuple):
  """What every optimizer is given beside its own settings."""

  learning_rate: Schedule
  rate: optax.GradientTransformationExtraArgs
  """Ends the chain, see `scale_by_rate`."""
  decayed: Callable[[Params], PyTree]
  """Maps the parameters to booleans: true where weight decay applies."""


def descend(
  shared: Shared, weight_decay: float, *direction: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
  """Goes against `direction`, with decoupled decay (arXiv:1711.05101)."""
  decay = optax.add_decayed_weights(weight_decay, shared.decayed)
  return optax.chain(*direction, decay, shared.rate)


class RateState(NamedTuple):
  """The number of updates so far, int32."""

  count: ArrayLike


def scale_by_rate(
  learning_rate: Schedule,
  multipliers: Callable[[Iterable[str]], Mapping[str, float]],
) -> optax.GradientTransformationExtraArgs:
  """Multiplies by `-learning_rate(count) * rate_scale * multiplier`.

  `rate_scale` is an optional keyword of `update`, a number that may be traced.

  Args:
    learning_rate: `(count) -> rate`.
    multipliers: `paths -> {path: multiplier}`, of the parameters.
  """

  def init(params):
    del params
    return RateState(jnp.zeros((), jnp.int32))

  def update(updates, state, params=None, *, rate_scale=1.0, **extra):
    del params, extra
    rate = learning_rate(state.count) * rate_scale
    factors = multipliers(flatten(updates))

    def scale(path, update):
      return (-rate * factors[path] * update).astype(update.dtype)

    count = optax.safe_increment(state.count)
    return map_with_path(scale, updates), RateState(count)

  return optax.GradientTransformationExtraArgs(init, update)


def multipliers(
  rates: Sequence[tuple[str, float]],
  layers: Sequence[str],
  layer_decay: float,
) -> Callable[[Iterable[str]], dict[str, float]]:
  """Makes `paths -> {path: multiplier of the learning rate}`.

  Args:
    rates: (regex, multiplier) pairs; the first that is found in a path counts.
    layers: as for `layer_multipliers`.
    layer_decay: as for `layer_multipliers`.
  """

  def evaluate(paths: Iterable[str]) -> dict[str, float]:
    by_layer = layer_multipliers(paths, layers, layer_decay)
    return {path: select(rates, path, 1.0) * by_layer[path] for path in paths}

  return evaluate


def layer_multipliers(
  paths: Iterable[str], layers: Sequence[str], decay: float
) -> dict[str, float]:
  r"""Returns `decay ** n` for paths with n layers between them and the output.

  Clark et al. 2020, arXiv:2003.10555; Bao et al. 2021, arXiv:2106.08254.

  Names alone do not tell the order of layers (`embed` comes after `block_0`
  in a sorted dict), so it is given: patterns from input to output. A path
  belongs to the first that is found in it. A pattern with groups stands for
  as many layers as there are different texts in the groups, ordered as
  numbers: `("embed", r"block_(\d+)", "head")`. Where no pattern is found, the
  rate is left as it is. Layers without a path, frozen ones, do not count.
  """

  def place(path: str) -> tuple:
    for index, pattern in enumerate(layers):
      if found := re.search(pattern, path):
        # Shorter numbers are smaller: block_2 lies before block_10.
        return (index, *((len(text), text) for text in found.groups("")))
    return ()

  places = {path: place(path) for path in paths}
  order = sorted(set(places.values()) - {()}, reverse=True)
  return {
    path: decay ** order.index(place) if place else 1.0
    for path, place in places.items()
  }

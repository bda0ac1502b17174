"""Low-rank adapters: a task whose kernels are frozen but for small updates."""

import math
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dlcore import layers, trees
from dlcore.errors import UserError, check_choice, check_pattern
from dlcore.layers.adapters import MAGNITUDE, SCALES, A, B
from dlcore.task import FROZEN, Task
from dlcore.tasks.number_checks import (
  check_count,
  check_dropout,
  check_positive,
)
from dlcore.typing import Array, Batch, ModelState, Params

ADAPTERS = layers.ADAPTERS
"""Key of the adapters in `params`, and of those of dense layers in the
collections of the model."""

KERNELS = r"kernel$"
"""The default pattern: kernels of dense layers, convolutions and cells."""

BASES = ("float32", "bfloat16", "int8")
"""Dtypes of the frozen kernels."""

KERNEL, KERNEL_SCALES = "/kernel", "/kernel_scales"
"""Ends of the paths of a dense kernel, and of what a 1 in it stands for."""


def lora(
  task: Task,
  pattern: str = KERNELS,
  *,
  rank: int = 8,
  alpha: float = 16.0,
  trained: str = "",
  dropout: float | Array = 0.0,
  rank_stabilized: bool = False,
  dora: bool = False,
  base: str = "float32",
) -> Task:
  """Returns `task` with frozen parameters and low-rank updates of some.

  The kernel of a layer becomes `W + s A B` with W frozen, A `[in, rank]`, B
  `[rank, out]`, which begins at 0, and s = alpha / rank (Hu et al. 2021,
  arXiv:2106.09685). Dense layers compute `x W + s (x A) B`, without a gradient
  of W. Other kernels, such as those of convolutions and recurrent cells, are
  added up first. In training, frozen batch norms use their running statistics;
  dropout is that of the model.

  Args:
    task: the learning problem.
    pattern: regular expression; a parameter with at least 2 axes whose path it
      matches anywhere has an update.
    rank: size of the axis between A and B.
    alpha: of the scale s.
    trained: regular expression; parameters whose path it matches are trained as
      a whole, such as `"^head/"`.
    dropout: rate at which the inputs of A are dropped in dense layers, a number
      or a traced scalar.
    rank_stabilized: whether s is alpha / sqrt(rank), for large ranks
      (Kalajdzievski 2023, arXiv:2312.03732).
    dora: whether the norm of the weights of each output is a parameter of its
      own (Liu et al. 2024, arXiv:2402.09353).
    base: "float32"; "bfloat16" for all frozen parameters with 2 axes or more;
      or "int8" for the kernels of dense layers that have an update, each with a
      scale for every output.

  Returns:
    A task whose `params` are the adapters, at the key "adapters", and those of
    `trained`. Its `variables` are those of the model with merged updates.

  Raises:
    UserError: a setting is out of range; from `init`, if a pattern matches no
      parameter.
  """
  check_lora(pattern, trained, rank, alpha, dropout, base)
  scale = alpha / (math.sqrt(rank) if rank_stabilized else rank)
  # All that is not trained as a whole, for the batch norms.
  untrained = f"^(?!.*(?:{trained}))" if trained else ""

  def init(key: Array, batch: Batch):
    dense: set[str] = set()
    with layers.dense_layers(dense):
      whole, model_state = task.init(key, batch)
    if FROZEN in model_state or ADAPTERS in {**whole, **model_state}:
      raise ValueError("expected a task without frozen parameters or adapters")
    adapters = {}
    for path, kernel in _kernels(whole, pattern, trained).items():
      place = path.removesuffix(KERNEL) if path in dense else path
      own_key = jax.random.fold_in(key, zlib.crc32(path.encode()))
      arrays = _initial(own_key, kernel, rank, stacked=path in dense)
      adapters |= {f"{place}/{name}": array for name, array in arrays.items()}
    return freeze(trees.nest(adapters), whole, model_state)

  def freeze(adapters: Params, whole: Params, model_state: ModelState):
    """Returns the state of the task for other parameters of the model."""
    own, rest = trees.partition(whole, untrained) if trained else ({}, whole)
    frozen, adapters = trees.flatten(rest), trees.flatten(adapters)
    for path, place, is_dense in _places(adapters, frozen):
      kernel = frozen[path]
      if dora:
        norms = layers.column_norms(kernel, stacked=is_dense)
        adapters[f"{place}/{MAGNITUDE}"] = norms
      if base == "int8" and is_dense:
        frozen[path], scales = layers.quantized(kernel)
        frozen[path.removesuffix(KERNEL) + KERNEL_SCALES] = scales
    if base == "bfloat16":
      frozen = {
        path: leaf.astype(jnp.bfloat16) if leaf.ndim > 1 else leaf
        for path, leaf in frozen.items()
      }
    params = {ADAPTERS: trees.nest(adapters), **own}
    return params, {**model_state, FROZEN: trees.nest(frozen)}

  def thaw(params: Params, model_state: ModelState, *, merged: bool):
    """Returns the model's parameters, and its other collections.

    Those have the adapters of dense layers, unless they are merged too.
    """
    rest = {name: tree for name, tree in model_state.items() if name != FROZEN}
    own = {name: tree for name, tree in params.items() if name != ADAPTERS}
    frozen = trees.flatten(model_state[FROZEN])
    adapters = trees.flatten(params[ADAPTERS])
    collection = {}
    for path, place, is_dense in _places(adapters, frozen):
      adapter = {
        name: adapters[f"{place}/{name}"]
        for name in (A, B, MAGNITUDE)
        if f"{place}/{name}" in adapters
      }
      scales = frozen.pop(path.removesuffix(KERNEL) + KERNEL_SCALES, None)
      if scales is not None:
        adapter[SCALES] = scales
      if is_dense and not merged:
        collection |= {f"{place}/{name}": x for name, x in adapter.items()}
      else:
        frozen[path] = layers.merged_kernel(frozen[path], adapter, scale)
    if merged:
      frozen = {path: jnp.asarray(x, jnp.float32) for path, x in frozen.items()}
    elif collection:
      rest[ADAPTERS] = trees.nest(collection)
    return trees.merge(own, trees.nest(frozen)), rest

  def adapted(function: Callable[..., Any], rate: float | Array = 0.0):
    """Returns `function` of the task for the state with adapters."""

    def call(params: Params, model_state: ModelState, batch: Batch, key: Array):
      whole, rest = thaw(params, model_state, merged=False)
      with (
        layers.frozen(untrained, dropout=False),
        layers.adapted(scale, rate),
      ):
        return function(whole, rest, batch, key)

    return call

  def kept(new_state: ModelState, old_state: ModelState) -> ModelState:
    """Returns a new state of the model with the frozen parameters."""
    others = {k: tree for k, tree in new_state.items() if k != ADAPTERS}
    return {**others, FROZEN: old_state[FROZEN]}

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    run = adapted(task.loss, dropout)
    result, (new_state, metrics) = run(params, model_state, batch, key)
    return result, (kept(new_state, model_state), metrics)

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    run = adapted(task.evaluate)
    new_state, metrics = run(params, model_state, batch, key)
    return kept(new_state, model_state), metrics

  def prepare(params: Params, model_state: ModelState, batch: Batch, key):
    run = adapted(task.prepare)
    new_state, batch = run(params, model_state, batch, key)
    return kept(new_state, model_state), batch

  def variables(params: Params, model_state: ModelState):
    return task.variables(*thaw(params, model_state, merged=True))

  def with_variables(
    params: Params, model_state: ModelState, variables: Mapping[str, Any]
  ):
    old = thaw(params, model_state, merged=True)
    return freeze(params[ADAPTERS], *task.with_variables(*old, variables))

  return task._replace(
    init=init,
    loss=loss,
    evaluate=evaluate,
    predict=adapted(task.predict),
    prepare=prepare,
    variables=variables,
    with_variables=with_variables,
  )


def check_lora(
  pattern: str,
  trained: str,
  rank: int,
  alpha: float | Array,
  dropout: float | Array,
  base: str,
) -> None:
  """Checks the settings of `lora`.

  Raises:
    UserError: one is out of range.
  """
  check_pattern("pattern", pattern)
  if not pattern:
    raise UserError(
      "expected pattern to match the paths of some parameters",
      "got an empty one",
      f"the default is {KERNELS!r}",
    )
  check_pattern("trained", trained)
  check_choice("base", base, BASES)
  check_count("rank", rank)
  check_positive("alpha", alpha)
  check_dropout("dropout", dropout)


def _kernels(params: Params, pattern: str, trained: str) -> dict[str, Array]:
  """Returns the parameters that have an update, by path.

  Raises:
    UserError: a pattern matches no parameter.
  """
  flat = trees.flatten(params)
  own = [path for path in flat if trained and re.search(trained, path)]
  found = {
    path: leaf
    for path, leaf in flat.items()
    if leaf.ndim > 1 and re.search(pattern, path) and path not in own
  }
  for name, value, matches in (
    ("pattern", pattern, found),
    ("trained", trained, own),
  ):
    if value and not matches:
      paths = ", ".join(list(flat)[:6])
      raise UserError(
        f"expected {name} to match the paths of some parameters",
        f"got {value!r}, which matches none with an update",
        f"the paths are {paths}{', ...' if len(flat) > 6 else ''}",
      )
  return found


def _initial(
  key: Array, kernel: Array, rank: int, *, stacked: bool
) -> dict[str, Array]:
  """Returns A, uniform as a dense layer of PyTorch, and B, zeros."""
  *leading, inside, outside = kernel.shape
  fan_in = inside if stacked else math.prod(leading) * inside
  limit = 1 / math.sqrt(fan_in)
  shape = (*leading, inside, rank)
  a = jax.random.uniform(key, shape, jnp.float32, -limit, limit)
  before = leading if stacked else ()
  return {A: a, B: jnp.zeros((*before, rank, outside), jnp.float32)}


def _places(
  adapters: Mapping[str, Any], frozen: Mapping[str, Any]
) -> list[tuple[str, str, bool]]:
  """Returns path of the kernel, of its adapter, and whether it is dense.

  The adapter of a dense layer is at the path of the layer, where the layer
  finds it, and that of another kernel at the path of the kernel.

  Args:
    adapters: by path.
    frozen: parameters by path.
  """
  ends = f"/{A}"
  places = [p.removesuffix(ends) for p in adapters if p.endswith(ends)]
  return [
    (place, place, False) if place in frozen else (place + KERNEL, place, True)
    for place in places
  ]

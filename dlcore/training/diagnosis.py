"""Where a number that is not finite came from.

The loss and its gradient are computed once more, operation by operation, and
followed backwards from the bad result to the first operation whose inputs
were still finite. Values that are infinite on purpose, such as a mask inside
an attention, are passed by, since they do not reach the result.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import core as jex

from dlcore import trees
from dlcore.data.source import Source, indices
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.training.gradient import replay
from dlcore.training.state import State
from dlcore.typing import Batch, PyTree

FAILURE = "failure.npz"
"""The file that keeps the batch, as the model saw it."""


def explain(
  task: Task,
  augment: Callable | None,
  state: State,
  dataset: Batch,
  source: Source,
  seed: int,
  batch_size: int,
  freeze: str,
  axis_name: str | None,
  folder: Path | None,
) -> UserError:
  """Says which step of a halted run went wrong, and where it began.

  Args:
    task: what is learned.
    augment: as in the step.
    state: the halted state, which is that before the bad steps but for its
      counts.
    dataset: the arrays on the device, or an empty dict.
    source: the training data.
    seed: of the run.
    batch_size: of the run.
    freeze: regex over the paths of the parameters that are not trained.
    axis_name: the mapped axis that the model names under `pmap`.
    folder: of the run; the last bad batch is kept in `failure.npz` there.
  """
  index = int(state.batch_index) - 1
  state = state.replace(batch_index=jax.numpy.int32(index))
  chosen = indices(seed, index, source.size, batch_size)
  batch = {"index": chosen}
  if not dataset:
    batch |= source.read(chosen)
  inputs, compute = replay(
    task, augment, state, dataset, batch, freeze=freeze, axis_name=axis_name
  )
  place = origin(compute, inputs)
  place = place or "none, but the norm of the gradient is far too large"
  todo = "lower optim.learning_rate, or set optim.clip_norm"
  if place.startswith("batch/"):
    name = place.removeprefix("batch/")
    rows = np.asarray(inputs["batch"][name]).reshape(batch_size, -1)
    bad = chosen[~np.isfinite(rows).all(axis=1)]
    examples = ", ".join(map(str, sorted(set(bad.tolist()))[:5]))
    todo = f"mend the data: see {name} of the training examples {examples}"
  last, count = int(state.step), int(state.trouble["in_a_row"])
  first = last - count + 1
  told = f"step {last} was" if count == 1 else f"steps {first} to {last} were"
  if folder is not None:
    seen = {name: np.asarray(a) for name, a in inputs["batch"].items()}
    np.savez(folder / FAILURE, **seen)
    place += f"; the batch is kept in {folder / FAILURE}"
  return UserError(
    f"{told} not applied: a loss or gradient is not finite, or spikes",
    f"the first value that is not finite: {place}",
    todo,
  )


@dataclasses.dataclass(frozen=True)
class Value:
  """A value, what made it and from what."""

  value: Any
  name: str
  parents: tuple["Value", ...] = ()

  def finite(self) -> bool:
    """Tells whether all elements are finite (whole numbers are)."""
    dtype = getattr(self.value, "dtype", np.asarray(self.value).dtype)
    if not jax.numpy.issubdtype(dtype, np.inexact):
      return True
    return bool(jax.numpy.all(jax.numpy.isfinite(self.value)))


def origin(function: Callable, arguments: dict[str, PyTree]) -> str:
  """Returns a name for what first was not finite in `function(**arguments)`.

  Args:
    function: takes the keywords of `arguments`, returns a tree; its leaves
      are looked at in order, so the loss should come first.
    arguments: trees by name.

  Returns:
    Such as `"params/head/kernel"`, `"batch/image"`, `"dense_1 (exp)"` or
    `"the gradient of dense_1 (mul)"`; empty where all is finite.
  """
  leaves = trees.flatten(arguments)
  structure = jax.tree.structure(arguments)

  def flat(*values):
    return function(**jax.tree.unflatten(structure, values))

  closed = jax.make_jaxpr(flat)(*leaves.values())
  inputs = [Value(value, name) for name, value in leaves.items()]
  consts = [Value(value, "a constant") for value in closed.consts]
  for result in _run(closed.jaxpr, consts, inputs, ""):
    if not result.finite():
      return _first(result).name
  return ""


def _first(value: Value) -> Value:
  while True:
    bad = [parent for parent in value.parents if not parent.finite()]
    if not bad:
      return value
    value = bad[0]


def _run(
  jaxpr, consts: Sequence[Value], inputs: Sequence[Value], outer: str
) -> list[Value]:
  """Evaluates a jaxpr, going into the calls that it makes."""
  known: dict[Any, Value] = {}
  known.update(zip(jaxpr.constvars, consts, strict=True))
  known.update(zip(jaxpr.invars, inputs, strict=True))

  def get(variable) -> Value:
    if hasattr(variable, "val"):  # A literal.
      return Value(variable.val, "a constant")
    return known[variable]

  for equation in jaxpr.eqns:
    operands = tuple(get(variable) for variable in equation.invars)
    stack = f"{outer}/{equation.source_info.name_stack}".strip("/")
    inner = _called(equation)
    if inner is not None:
      closed_consts = [Value(value, "a constant") for value in inner.consts]
      results = _run(inner.jaxpr, closed_consts, operands, stack)
    else:
      results = _evaluate(jaxpr, equation, operands, stack)
    known.update(zip(equation.outvars, results, strict=True))
  return [get(variable) for variable in jaxpr.outvars]


def _called(equation):
  """Returns the closed jaxpr of a plain call, None for anything else."""
  for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
    inner = equation.params.get(name)
    same = inner is not None and hasattr(inner, "consts")
    if same and len(inner.jaxpr.invars) == len(equation.invars):
      loops = equation.primitive.name in ("scan", "while", "cond")
      return None if loops else inner
  return None


def _evaluate(jaxpr, equation, operands, stack: str) -> list[Value]:
  """Evaluates one equation of `jaxpr`."""
  given = {
    variable: operand.value
    for variable, operand in zip(equation.invars, operands, strict=True)
    if not hasattr(variable, "val")
  }
  single = jaxpr.replace(
    constvars=[],
    invars=list(given),
    outvars=equation.outvars,
    eqns=[equation],
    debug_info=jaxpr.debug_info.with_unknown_names(),
  )
  run = jex.jaxpr_as_fun(jex.ClosedJaxpr(single, []))
  name = _layer(stack, equation.primitive.name)
  return [Value(result, name, operands) for result in run(*given.values())]


def _layer(stack: str, operation: str) -> str:
  """Turns `"transpose(jvp(CNN))/dense_0"` into a name for people."""
  backward = "transpose(" in stack
  parts = [part for part in re.split(r"[/()]+", stack) if part]
  parts = [part for part in parts if part not in ("jvp", "transpose", "vmap")]
  # The first part is the model itself, said only where there is no other.
  layer = "/".join(parts[1:]) or "".join(parts) or "the loss"
  return f"{'the gradient of ' if backward else ''}{layer} ({operation})"

"""The origin of a number that is not finite.

The loss and its gradient are computed once more, operation by operation, and
followed backwards from the result to the first operation whose inputs were
still finite. Values that are infinite on purpose, such as a mask inside
attention, are ignored, since they do not reach the result.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.extend import core as jex

from dlcore import trees
from dlcore.errors import UserError
from dlcore.task import Task, identity
from dlcore.training.state import State, bind_axis, step_key
from dlcore.training.update import Penalty, make_update
from dlcore.typing import Batch, PyTree

GRADIENT = "the gradient of "

FAILURE = "failure.npz"
"""The file that keeps the failing batch, as the model received it."""


def diagnose(
  task: Task,
  state: State,
  batch: Batch,
  penalty: Penalty | None = None,
  axis_name: str | None = None,
  folder: Path | None = None,
) -> UserError:
  """Returns an error that names the failing steps and the origin of the NaN.

  Args:
    task: the learning problem.
    state: the halted state: that before the failing steps, but for its clock.
    batch: of the last failing step, `[B, ...]` on the host.
    penalty: as in the step.
    axis_name: the mapped axis that the model names under `pmap`.
    folder: of the run, where the batch is kept in `failure.npz`; or None.
  """
  index = np.asarray(batch["index"])
  state = state.replace(batch_index=state.batch_index - 1)
  model_state, batch = task.prepare(
    state.params,
    state.model_state,
    batch,
    jax.random.split(step_key(state))[0],
  )
  inputs = {
    "params": state.params,
    "model_state": model_state,
    "batch": dict(batch),
  }
  update = make_update(
    task._replace(prepare=identity),
    optax.identity(),
    penalty=penalty,
    axis_name=axis_name,
  )

  def differentiate(params, model_state, batch):
    new_state = state.replace(params=params, model_state=model_state)
    result = update(new_state, batch)
    return result.loss, result.grads

  origin = find_origin(bind_axis(differentiate, axis_name), inputs)
  hint = "lower learning_rate, or set clip_norm"
  if origin.startswith("batch/"):
    name = origin.removeprefix("batch/")
    rows = np.asarray(batch[name]).reshape(len(index), -1)
    bad = index[~np.isfinite(rows).all(axis=1)]
    examples = ", ".join(map(str, sorted(set(bad.tolist()))[:5]))
    hint = f"fix the data: see {name} of the training examples {examples}"
  origin = origin or "none, but the norm of the gradient is far too large"
  if folder is not None:
    arrays: dict[str, Any] = {k: np.asarray(v) for k, v in batch.items()}
    np.savez(folder / FAILURE, **arrays)
    origin += f"; the batch is kept in {folder / FAILURE}"
  last, count = int(state.step), int(state.guard["consecutive"])
  steps = (
    f"step {last}" if count == 1 else f"steps {last - count + 1} to {last}"
  )
  return UserError(
    f"the updates of {steps} were skipped: a loss or gradient is not finite, "
    "or spikes",
    f"the first value that is not finite: {origin}",
    hint,
  )


@dataclasses.dataclass(frozen=True)
class Value:
  """A value, the operation that produced it, and its operands."""

  value: Any
  name: str
  parents: tuple["Value", ...] = ()

  def finite(self) -> bool:
    """Returns whether all elements are finite (integers are)."""
    dtype = getattr(self.value, "dtype", np.asarray(self.value).dtype)
    if not jax.numpy.issubdtype(dtype, np.inexact):
      return True
    return bool(jax.numpy.all(jax.numpy.isfinite(self.value)))


def find_origin(function: Callable, arguments: dict[str, PyTree]) -> str:
  """Returns the name of the first non-finite value in `function(**arguments)`.

  Args:
    function: takes the keywords of `arguments`, returns a tree whose first
      leaf is the loss and whose others are gradients.
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
  results = _run(closed.jaxpr, consts, inputs, "")
  for position, result in enumerate(results):
    if not result.finite():
      origin = _first(result)
      # Derivatives of the forward pass bear the names of their operations.
      if position > 0 and origin.parents and GRADIENT not in origin.name:
        return GRADIENT + origin.name
      return origin.name
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
  """Evaluates a jaxpr, recursing into the calls that it makes."""
  values: dict[Any, Value] = {}
  values.update(zip(jaxpr.constvars, consts, strict=True))
  values.update(zip(jaxpr.invars, inputs, strict=True))

  def get(variable) -> Value:
    if hasattr(variable, "val"):  # A literal.
      return Value(variable.val, "a constant")
    return values[variable]

  for equation in jaxpr.eqns:
    operands = tuple(get(variable) for variable in equation.invars)
    stack = f"{outer}/{equation.source_info.name_stack}".strip("/")
    inner = _called(equation)
    if inner is not None:
      closed_consts = [Value(value, "a constant") for value in inner.consts]
      results = _run(inner.jaxpr, closed_consts, operands, stack)
    else:
      results = _evaluate(jaxpr, equation, operands, stack)
    values.update(zip(equation.outvars, results, strict=True))
  return [get(variable) for variable in jaxpr.outvars]


def _called(equation):
  """Returns the closed jaxpr of a plain call, None for anything else."""
  for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
    inner = equation.params.get(name)
    if inner is None or not hasattr(inner, "consts"):
      continue
    if len(inner.jaxpr.invars) == len(equation.invars):
      loops = equation.primitive.name in ("scan", "while", "cond")
      return None if loops else inner
  return None


def _evaluate(jaxpr, equation, operands, stack: str) -> list[Value]:
  """Evaluates one equation of `jaxpr`."""
  arguments = {
    variable: operand.value
    for variable, operand in zip(equation.invars, operands, strict=True)
    if not hasattr(variable, "val")
  }
  single = jaxpr.replace(
    constvars=[],
    invars=list(arguments),
    outvars=equation.outvars,
    eqns=[equation],
    debug_info=jaxpr.debug_info.with_unknown_names(),
  )
  run = jex.jaxpr_as_fun(jex.ClosedJaxpr(single, []))
  name = _layer(stack, equation.primitive.name)
  return [Value(result, name, operands) for result in run(*arguments.values())]


def _layer(stack: str, operation: str) -> str:
  """Turns `"transpose(jvp(CNN))/dense_0"` into a readable name."""
  backward = "transpose(" in stack
  parts = [part for part in re.split(r"[/()]+", stack) if part]
  parts = [part for part in parts if part not in ("jvp", "transpose", "vmap")]
  # The first part is the model itself, named only if there is no other.
  layer = "/".join(parts[1:]) or "".join(parts) or "the loss"
  return f"{GRADIENT if backward else ''}{layer} ({operation})"

"""Initial variables of a training run from those of a model."""

from collections.abc import Mapping
from typing import Any

import jax

from dlcore import trees
from dlcore.errors import UserError
from dlcore.task import Task, merge_frozen, split_frozen
from dlcore.transfer import argument_checks, load_errors
from dlcore.typing import Initial, ModelState, Params, PyTree


def initial(variables: PyTree, task: Task | None = None) -> Initial:
  """Returns the argument `initial` of `training.fit` for these variables.

  Works for tasks with frozen parameters too. See `from_pretrained` for an
  example.

  Args:
    variables: variables of the task's model, such as those that
      `from_pretrained` or `load_pretrained` returns.
    task: the task, if its state is not that of the model's own parameters, as
      with adapters; see `Task.with_variables`.

  Returns:
    `(params, model_state) -> (params, model_state)`, which copies the variables
    and converts them to the dtypes of its arguments.

  Raises:
    UserError: they are not variables; the function that is returned raises it
      if names or shapes differ from the task's.
  """
  argument_checks.check_variables(variables, "transfer.initial(variables)")
  values = trees.flatten(variables)
  get = task.variables if task else merge_frozen
  put = task.with_variables if task else split_frozen

  def replace(
    params: Params, model_state: ModelState
  ) -> tuple[Params, ModelState]:
    expected = jax.eval_shape(get, params, model_state)
    _check_equal_shapes(trees.flatten(expected), values)
    return put(params, model_state, variables)

  return replace


def _check_equal_shapes(
  expected: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
  """Checks that variables have the paths and the shapes of a task.

  Raises:
    UserError: they differ.
  """
  differences = load_errors.shape_differences(expected, values)
  if differences:
    raise UserError(
      "expected the variables of the task's model",
      f"got differences: {load_errors.listed(differences)}",
      "make the task with the model to which the variables belong",
    )

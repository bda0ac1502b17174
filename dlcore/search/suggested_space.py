"""The space of a search: of the user, of the config, or a suggested one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore import experiment
from dlcore.errors import UserError
from dlcore.search.space import Distribution, Interval, Space, When, parse

FACTOR = 30.0
"""Between the learning rate of the config and the ends of its interval."""

SUGGESTED: dict[str, Interval] = {
  "optim.weight_decay": Interval(1e-4, 1.0, log=True),
  "model.dropout": Interval(0.0, 0.5),
  "task.label_smoothing": Interval(0.0, 0.2),
}
"""Intervals of settings that many models, tasks and optimizers have."""


def choose_space(
  config: Mapping[str, Any], text: str, file: str, *, near: Path
) -> tuple[Space, str]:
  """Returns the space of a search, and where it comes from.

  Args:
    config: the complete tree.
    text: of `--space`, or empty.
    file: of the config.
    near: see `experiment.read_config`.

  Raises:
    UserError: the text cannot be parsed, or `space()` of the file fails.
  """
  if text:
    return parse(text), "--space"
  space = experiment.read_space(file, near=near)
  if space is not None:
    return space, f"{Path(file).name.partition(':')[0]}"
  return suggest(config), "this config (--space or space() changes it)"


def suggest(config: Mapping[str, Any]) -> Space:
  """Returns a space that suits the model, the task and the optimizer.

  Raises:
    UserError: the config has no learning rate above 0.
  """
  leaves = experiment.leaves(config)
  rate = leaves["optim.learning_rate"]
  if rate <= 0:
    raise UserError(
      "expected optim.learning_rate above 0, to suggest a space around it",
      f"got {rate}",
      "name the space by --space",
    )
  space: dict[str, Distribution] = {
    "optim.learning_rate": Interval(rate / FACTOR, rate * FACTOR, log=True)
  }
  return space | {p: one for p, one in SUGGESTED.items() if p in leaves}


def describe_space(space: Space) -> str:
  """Returns the space as text, a line for each path."""
  return "\n".join(f"  {path} = {describe(one)}" for path, one in space.items())


def describe(one: Distribution) -> str:
  """Returns the text of a distribution, with its condition."""
  if isinstance(one, When):
    values = "|".join(map(str, one.values))
    return f"{one.inner} if {one.path} is {values}"
  return str(one)

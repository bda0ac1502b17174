"""Settings of the entries of tables: the arguments of their functions."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from dlcore import data, models, optim, tasks, transfer
from dlcore.errors import UserError, nearest


class Table(NamedTuple):
  """The table that resolves the `name` of a section."""

  rows: Mapping[str, Any]
  noun: str
  """Singular noun for a row, in messages."""

  provided: Callable[[Any], Collection[str]] = lambda row: ()
  """Returns the arguments of a row that the data or another section provides;
  all others are settings of the section."""

  function: Callable[[Any], Callable[..., Any]] = lambda row: row
  """Returns the function of a row that takes the settings."""


FROM_DATA = ("vocab_size", "target_vocab_size")
"""Sizes of the model's vocabularies."""

TABLES = {
  "data": Table(data.DATASETS, "data set"),
  "model": Table(
    models.MODELS,
    "model",
    lambda _: (
      *("axis_name", "dtype", "name", "num_classes", "parent"),
      *FROM_DATA,
    ),
  ),
  "task": Table(
    tasks.TASKS,
    "task",
    lambda kind: ("model", *kind.data_arguments),
    lambda kind: kind.make,
  ),
  "optim": Table(
    optim.OPTIMIZERS, "optimizer", lambda _: ("mask", "scale_by_rates")
  ),
  "init.strategy": Table(transfer.STRATEGIES, "strategy"),
  "optim.schedule": Table(optim.SCHEDULES, "schedule", lambda _: ("steps",)),
}
"""The sections with a `name`."""


def settings(section: str, name: str) -> dict[str, Any]:
  """Returns the settings of the entry `name` of a section, with defaults.

  Raises:
    UserError: the name is unknown, or an argument of the entry has a default
      that a config cannot hold.
  """
  table = TABLES[section]
  if name not in table.rows:
    raise UserError(
      f"expected the name of a known {table.noun} in config.{section}.name",
      f"got {name!r}",
      nearest(name, table.rows),
    )
  row = table.rows[name]
  elsewhere = table.provided(row)
  parameters = inspect.signature(table.function(row)).parameters.values()
  own = {
    parameter.name: parameter.default
    for parameter in parameters
    if parameter.name not in elsewhere
    and parameter.kind is not parameter.VAR_KEYWORD
  }
  for key, default in own.items():
    if not _is_setting(default):
      missing = default is inspect.Parameter.empty
      raise UserError(
        f"expected a bool, int, float, str or tuple as the default of {key!r}",
        f"got {'no default' if missing else repr(default)[:80]} in the "
        f"{table.noun} {name!r}",
        "choose such a default, since a config holds no other values",
      )
  return own


def keyword_defaults(
  function: Callable[..., Any], exclude: Collection[str] = ()
) -> dict[str, Any]:
  """Returns the keyword arguments of `function` that a config can hold."""
  return {
    name: parameter.default
    for name, parameter in inspect.signature(function).parameters.items()
    if _is_setting(parameter.default) and name not in exclude
  }


def _is_setting(value: Any) -> bool:
  """Returns whether a config, and its JSON file, can hold `value`."""
  if isinstance(value, tuple):
    return all(map(_is_setting, value))
  return isinstance(value, bool | int | float | str)

"""Own models, tasks and data of a module that `--import` names.

The module has tables of the same names as those of dlcore, with further rows:
`MODELS = {"wide": Wide}`. A function `parts(**settings) -> Parts` gives the
parts of runs of `training.fit` to the other scripts.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

from dlcore import augment, data, metrics, models, optim, tasks
from dlcore.errors import UserError, nearest
from dlcore.task import Task

TABLES: dict[str, dict[str, Any]] = {
  "AUGMENTATIONS": augment.AUGMENTATIONS,
  "DATASETS": data.DATASETS,
  "METRICS": metrics.METRICS,
  "MIXTURES": augment.MIXTURES,
  "MODELS": models.MODELS,
  "OPTIMIZERS": optim.OPTIMIZERS,
  "SCHEDULES": optim.SCHEDULES,
  "SCHEMAS": data.SCHEMAS,
  "TASKS": tasks.TASKS,
  "TOKEN_AUGMENTATIONS": augment.TOKEN_AUGMENTATIONS,
}
"""The tables that a module may extend."""

PAIRS = ("AUGMENTATIONS", "MIXTURES", "TOKEN_AUGMENTATIONS")
"""The tables whose rows are `(off value, function)`."""

PARTS = "parts"
"""The function of a module that returns the parts of a run of `fit`."""


class Parts(NamedTuple):
  """The parts of a run of `training.fit`, for scripts that read its folder."""

  task: Task
  splits: data.Splits
  model: Any = None
  """The Linen module, which `export.py --format=safetensors` needs."""


_modules: dict[str, ModuleType] = {}


def imported_modules() -> tuple[str, ...]:
  """Returns the names of the modules that `--import` has named."""
  return tuple(_modules)


def forget() -> None:
  """Forgets all modules, for tests; rows in tables stay."""
  _modules.clear()


def register(module: ModuleType) -> None:
  """Adds the rows of a module's tables to those of dlcore.

  Raises:
    UserError: it has no such table, a name is taken, or a row is malformed.
  """
  name = module.__name__
  found = {key: vars(module)[key] for key in TABLES if key in vars(module)}
  if not found and not callable(vars(module).get(PARTS)):
    similar = [key for key in vars(module) if key.isupper()]
    hint = nearest(similar[0], TABLES) if similar else ""
    raise UserError(
      f"expected a table or a function {PARTS} in the module {name}: "
      f"{', '.join(TABLES)}",
      f"got {', '.join(similar) or 'none of them'}",
      hint or 'write, for example, MODELS = {"mine": Mine}',
    )
  for key, rows in found.items():
    _check_rows(name, key, rows)
  for key, rows in found.items():
    TABLES[key].update(rows)
  _modules[name] = module


def load_parts(settings: Mapping[str, Any], workdir: Any) -> Parts:
  """Returns the parts of a run of `fit` from an imported module.

  Args:
    settings: those that the run was given.
    workdir: of the run, for the message.

  Raises:
    UserError: no module was imported that has them.
  """
  makers: list[Callable[..., Any]] = [
    vars(module)[PARTS] for module in _modules.values() if PARTS in vars(module)
  ]
  if len(makers) != 1:
    raise UserError(
      f"expected --import=MODULE with a function {PARTS} for {workdir}, a run "
      "of training.fit, whose parts are Python",
      f"got {len(makers)} such modules",
      f"write def {PARTS}(**settings) that returns experiment.Parts(task, "
      "splits)",
    )
  try:
    parts = makers[0](**settings)
  except TypeError as error:
    raise UserError(
      f"expected {PARTS} to take the settings of the run: "
      f"{', '.join(settings) or 'none'}",
      f"got: {error}",
    ) from error
  if not isinstance(parts, Parts):
    raise UserError(
      f"expected {PARTS} to return experiment.Parts(task, splits)",
      f"got a value of type {type(parts).__name__}",
    )
  return parts


def _check_rows(module: str, key: str, rows: Any) -> None:
  if not isinstance(rows, Mapping):
    raise UserError(
      f"expected {key} in the module {module} to be a dict of rows by name",
      f"got a value of type {type(rows).__name__}",
    )
  table = TABLES[key]
  for name, row in rows.items():
    if not isinstance(name, str) or table.get(name, row) is not row:
      raise UserError(
        f"expected new names in {key} of the module {module}",
        f"got {name!r}, which dlcore has already",
        "choose another name",
      )
    if not _is_row(key, row):
      kind = "a pair (off value, function)" if key in PAIRS else "a function"
      kind = {"METRICS": "a metrics.Metric", "TASKS": "a tasks.TaskKind"}.get(
        key, kind
      )
      raise UserError(
        f"expected {key}[{name!r}] of the module {module} to be {kind}",
        f"got a value of type {type(row).__name__}",
      )


def _is_row(key: str, row: Any) -> bool:
  kinds = {"METRICS": metrics.Metric, "TASKS": tasks.TaskKind}
  if key in kinds:
    return isinstance(row, kinds[key])
  if key in PAIRS:
    return isinstance(row, tuple) and len(row) == 2 and callable(row[1])
  return callable(row)

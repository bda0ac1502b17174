"""The tree of defaults: every leaf that a config has and may override.

A section with a `name` is an entry of a table, whose keyword arguments are
settings of that section beside the common ones below.
"""

import copy
import inspect
import math
from collections.abc import Mapping
from typing import Any

import ml_collections

from dlcore import augment, data, models, optim, tasks
from dlcore.errors import UserError, lookup, nearest

DEFAULTS = {
  "seed": 0,
  "data": {
    "name": "digits",
    "batch_size": 64,
    "limit": 0,
    "placement": "auto",
    "workers": 0,
    "augment": {
      name: off
      for table in (augment.AUGMENTATIONS, augment.MIXTURES)
      for name, (off, _) in table.items()
    },
  },
  "model": {"name": "cnn"},
  "init": {"source": "", "family": "", "allow": "", "head": "published"},
  "task": {"name": "classification"},
  "optim": {
    "name": "adamw",
    "learning_rate": 1e-3,
    "clip_norm": 1.0,
    "clip_value": 0.0,
    "clip_layer": 0.0,
    "clip_adaptive": 0.0,
    "l1": 0.0,
    "l2": 0.0,
    "no_decay": optim.NO_DECAY,
    "freeze": "",
    "rates": (),
    "layers": (),
    "layer_decay": 1.0,
    "schedule": {"name": "warmup_cosine"},
  },
  "training": {
    "steps": 0,
    "epochs": 10.0,
    "ema": 0.0,
    "accumulate": 1,
    "patience": 0,
    "spike": 0.0,
    "tolerate": 3,
    "recoveries": 3,
    "dtype": "float32",
    "best_by": "-loss",
    "log_every": 50,
    "watch_every": 0,
    "eval_every": 0,
    "checkpoint_every": 0,
    "eval_batch_size": 512,
    "compile": "jit",
    "steps_per_call": 0,
    "deterministic": False,
  },
  "scale": {"devices": 0},
}
"""`data.limit` trains on so many examples, 0 on all. `training.steps` of 0
takes `training.epochs`; for 0 in the other numbers see `training.fit`.
`scale.devices` of 0 takes all local devices. `init` says with which weights to
begin, see `transfer.load_pretrained`."""

RANGES: dict[str, tuple[float, float]] = {
  "seed": (0, 2**32 - 1),  # JAX would drop what is above.
  "data.batch_size": (1, math.inf),
  "data.limit": (0, math.inf),
  "data.workers": (0, math.inf),
  "optim.learning_rate": (0, math.inf),
  "optim.clip_norm": (0, math.inf),
  "optim.clip_value": (0, math.inf),
  "optim.clip_layer": (0, math.inf),
  "optim.clip_adaptive": (0, math.inf),
  "optim.layer_decay": (0, 1),
  "optim.l1": (0, math.inf),
  "optim.l2": (0, math.inf),
  "training.steps": (0, math.inf),
  "training.epochs": (0, math.inf),
  "training.ema": (0, 1 - 1e-9),
  "training.accumulate": (1, math.inf),
  "training.patience": (0, math.inf),
  "training.spike": (0, math.inf),
  "training.tolerate": (1, math.inf),
  "training.recoveries": (0, math.inf),
  "training.log_every": (1, math.inf),
  "training.watch_every": (0, math.inf),
  "training.eval_every": (0, math.inf),
  "training.checkpoint_every": (0, math.inf),
  "training.eval_batch_size": (1, math.inf),
  "training.steps_per_call": (0, math.inf),
  "scale.devices": (0, math.inf),
}
"""The least and the greatest value of the common leaves."""

TABLES: dict[str, tuple[Mapping[str, Any], str]] = {
  "data": (data.DATASETS, "data set"),
  "model": (models.MODELS, "model"),
  "task": (tasks.TASKS, "task"),
  "optim": (optim.OPTIMIZERS, "optimizer"),
  "optim.schedule": (optim.SCHEDULES, "schedule"),
}
"""The sections with a name, and where the name is looked up."""

GIVEN = {
  "axis_name",
  "dtype",
  "input",
  "name",
  "normalization",
  "num_classes",
  "parent",
  "target_normalization",
}
"""Keywords of entries that come from the data or another section."""


def config(**sections: Any) -> ml_collections.ConfigDict:
  """Returns the tree of defaults with `sections` in place of their leaves.

  Example: `config(data={"name": "mnist"}, model={"name": "mlp"}, seed=3)`.

  Raises:
    UserError: a name or a setting is unknown (with the nearest), or a value
      is of another type than its default.
  """
  return ml_collections.ConfigDict(complete(sections))


def complete(given: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the full tree of defaults, with the leaves of `given` in it.

  Raises:
    UserError: a name or a setting is unknown (with the nearest), or a value
      is of another type than its default or out of range.
  """
  tree = copy.deepcopy(DEFAULTS)
  for section in TABLES:
    node, wanted = _at(tree, section), _find(given, section)
    node["name"] = _typed(
      node["name"], wanted.get("name", node["name"]), f"{section}.name"
    )
    node |= settings(section, node["name"])
  _merge(tree, given, "")
  for key, (least, greatest) in RANGES.items():
    value = _at(tree, key)
    if not least <= value <= greatest:
      most = "" if greatest == math.inf else f" and at most {greatest}"
      raise UserError(
        f"expected config.{key} of at least {least}{most}", f"got {value}"
      )
  return tree


def rename(tree: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
  """Returns `tree` with another entry in `section`, with its own settings.

  The settings that all entries of the section have in common are kept.
  """
  new = copy.deepcopy(dict(tree))
  node = _at(new, section)
  common = _at(DEFAULTS, section)
  kept = {key: value for key, value in node.items() if key in common}
  node.clear()
  node |= {**kept, "name": name}
  return complete(new)


def settings(section: str, name: str) -> dict[str, Any]:
  """Returns the settings of the entry `name` of a section, with defaults."""
  table, what = TABLES[section]
  parameters = inspect.signature(lookup(table, name, what)).parameters
  return {
    key: parameter.default
    for key, parameter in parameters.items()
    if parameter.default is not inspect.Parameter.empty and key not in GIVEN
  }


def leaves(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
  """Returns the leaves of a config by their paths: `"optim.name"`."""
  found = {}
  for key, value in tree.items():
    where = f"{path}{key}"
    if isinstance(value, Mapping):
      found |= leaves(value, f"{where}.")
    else:
      found[where] = value
  return found


def _at(tree: Mapping[str, Any], path: str) -> Any:
  for part in path.split("."):
    tree = tree[part]
  return tree


def _find(tree: Mapping[str, Any], section: str) -> Mapping[str, Any]:
  """Returns a section of what is given, empty where it is absent."""
  for part in section.split("."):
    tree = tree.get(part, {})
    if not isinstance(tree, Mapping):
      raise UserError(f"expected a section config.{section}", f"got {tree!r}")
  return tree


def _merge(tree: dict[str, Any], given: Mapping[str, Any], path: str) -> None:
  for key, value in given.items():
    where = f"{path}{key}"
    if key not in tree:
      raise UserError(
        "expected a known setting",
        f"got config.{where}={value!r}",
        nearest(key, tree),
      )
    if isinstance(tree[key], Mapping):
      if not isinstance(value, Mapping):
        raise UserError(f"expected a section config.{where}", f"got {value!r}")
      _merge(tree[key], value, f"{where}.")
    else:
      tree[key] = _typed(tree[key], value, where)


def _typed(default: Any, value: Any, where: str) -> Any:
  """Returns `value` in the type of its default."""
  try:
    return _like(default, value)
  except TypeError:
    raise UserError(
      f"expected config.{where} of type {type(default).__name__}, such as "
      f"{default!r}",
      f"got {value!r}",
    ) from None
  except ValueError:
    raise UserError(
      f"expected finite numbers in config.{where}", f"got {value!r}"
    ) from None


def _like(default: Any, value: Any) -> Any:
  """Returns `value` in the type of `default`; JSON's lists become tuples."""
  if isinstance(default, tuple) and isinstance(value, list | tuple):
    if not default:
      return _tuple(value)
    # The first item stands for all.
    return tuple(_like(default[0], item) for item in value)
  if isinstance(default, float) and type(value) is int:
    value = float(value)
  if type(value) is not type(default):
    raise TypeError
  if isinstance(value, float) and not math.isfinite(value):
    raise ValueError
  return value


def _tuple(value: Any) -> Any:
  if isinstance(value, list | tuple):
    return tuple(_tuple(item) for item in value)
  return value


def no_variant(variant: str) -> None:
  """Refuses `variant`, for a config file that has none.

  Raises:
    UserError: `variant` is not empty.
  """
  if variant:
    raise UserError(
      "expected a config file without a variant, as this one has none",
      f"got the variant {variant!r}",
    )

"""Config keys that were renamed or added in version 0.2.

On the command line and in a config file an old key is an error that gives
the new one. The config.json of an older run is upgraded when it is read.
"""

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from dlcore import models
from dlcore.experiment.entry_settings import FROM_DATA
from dlcore.transfer.families.own import RENAMED

COMMON = {
  "scale.devices": "sharding.devices",
  "training.watch_every": "training.layer_statistics_every",
  "training.spike": "training.spike_factor",
  "training.tolerate": "training.max_consecutive_skips",
  "training.recoveries": "training.max_rollbacks",
}
"""New paths by old paths, for keys that every config has."""

REMOVED = {
  f"model.{name}": "remove it, since the data determines it"
  for name in FROM_DATA
}
"""Remedies for keys without a successor."""

OPTIMIZER_SETTINGS = {
  "adadelta": {"decay": "rho"},
  "adafactor": {
    "clip": "clipping_threshold",
    "eps1": "eps",
    "exponent": "decay_rate",
    "factored_from": "min_dim_size_to_factor",
    "relative": "multiply_by_parameter_scale",
  },
  "adagrad": {"accumulator": "initial_accumulator_value"},
  "lars": {"trust": "trust_coefficient"},
  "muon": {
    "adam": "adam_params",
    "b1": "adam_b1",
    "b2": "adam_b2",
    "momentum": "beta",
    "rms": "consistent_rms",
  },
  "prodigy": {"d0": "estim_lr0"},
  "schedule_free_adamw": {"beta": "b1"},
  "schedule_free_sgd": {"beta": "b1"},
}
"""New settings by old settings, by optimizer. Those of prodigy also had `b1`
and `b2`, now `betas`."""


def _model_class(entry: Any) -> str:
  return (entry.func if isinstance(entry, partial) else entry).__name__


BY_ENTRY: dict[str, dict[str, dict[str, str]]] = {
  "model": {
    name: RENAMED[_model_class(entry)]
    for name, entry in models.MODELS.items()
    if _model_class(entry) in RENAMED
  },
  "optim": OPTIMIZER_SETTINGS,
  "optim.schedule": {"plateau": {"least": "min_scale"}},
}
"""New settings by old settings, by section and by the entry of its table."""


ADDED = {
  "data": {
    "image_folder": {
      "labels": "",
      "max_size": 0,
      "resize": "exact",
      "value_range": [0, 65535],
    },
    "table_csv": {"shift": False},
  }
}
"""Settings that older runs lack, by section and entry, with the values that
keep their data as it was."""


def renamed(path: str, entries: Mapping[str, str]) -> str | None:
  """Returns the new path of a renamed config key, None for other keys.

  Args:
    path: the key, such as `"model.heads"`.
    entries: the name in each section with a table: `{"model": "gpt2", ...}`.
  """
  if path in COMMON:
    return COMMON[path]
  section, _, key = path.rpartition(".")
  new = _settings(section, entries.get(section)).get(key)
  return f"{section}.{new}" if new else None


def upgrade(content: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a stored config with the new names of renamed keys.

  Values and other keys stay as they are. An old key stays too if its new name
  is also there, so that reading the config reports it.

  Args:
    content: the content of a config.json, of this version or an older one.
  """
  tree = copy.deepcopy(dict(content))
  _join_betas(_section(tree, "optim"))
  for section in BY_ENTRY:
    settings = _settings(section, _section(tree, section).get("name"))
    for old, new in settings.items():
      _move(tree, f"{section}.{old}", f"{section}.{new}")
  for old, new in COMMON.items():
    _move(tree, old, new)
  for size in FROM_DATA:
    _section(tree, "model").pop(size, None)  # See `RunFolder.info`.
  for section, entries in ADDED.items():
    values = _section(tree, section)
    for key, value in entries.get(str(values.get("name")), {}).items():
      values.setdefault(key, value)
  return tree


def _join_betas(optimizer: Any) -> None:
  if optimizer.get("name") == "prodigy" and "b1" in optimizer:
    b1, b2 = optimizer.pop("b1"), optimizer.pop("b2", 0.999)
    optimizer["betas"] = [b1, b2]


def _settings(section: str, name: Any) -> Mapping[str, str]:
  """Returns the renamed settings of an entry; its name may be anything."""
  if not isinstance(name, str):
    return {}
  return BY_ENTRY.get(section, {}).get(name, {})


def _section(tree: Mapping[str, Any], path: str) -> Any:
  """Returns the section at `path`, empty if it is missing or not a section."""
  node: Any = tree
  for part in path.split("."):
    node = node.get(part) if isinstance(node, Mapping) else None
  return node if isinstance(node, Mapping) else {}


def _move(tree: dict[str, Any], old: str, new: str) -> None:
  """Moves a leaf to its new path and removes a section that it leaves empty."""
  old_section, _, old_key = old.rpartition(".")
  new_section, _, new_key = new.rpartition(".")
  source = _section(tree, old_section)
  if old_key not in source or new_key in _section(tree, new_section):
    return
  target: Any = tree
  for part in new_section.split("."):
    target = target.setdefault(part, {})
    if not isinstance(target, dict):
      return
  target[new_key] = source.pop(old_key)
  if not source:
    parent, _, name = old_section.rpartition(".")
    del (_section(tree, parent) if parent else tree)[name]

"""The tree of defaults: every leaf that a config has and may override.

A section with a `name` is an entry of a table, whose keyword arguments are
settings of that section next to the common ones below. The common ones are the
keyword arguments of the functions that use them: a new setting is declared
once, in the signature of its function.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import ml_collections

from dlcore import augment, optim, training
from dlcore.errors import UserError
from dlcore.experiment.entry_settings import (
  TABLES,
  keyword_defaults,
  settings,
)
from dlcore.experiment.merging import merge, typed
from dlcore.experiment.qualification import qualify

DEFAULTS = {
  "seed": 0,
  "data": {
    "name": "digits",
    "batch_size": 64,
    "limit": 0,
    "eval_limit": 0,
    "placement": "auto",
    "sampling": "uniform",
    "workers": 0,
    "augment": {},
  },
  "model": {"name": "cnn"},
  "init": {
    "source": "",
    "family": "",
    "allow": "",
    "head": "published",
    "adapter": "",
    "strategy": {"name": "full"},
  },
  "task": {"name": "classification"},
  "optim": {
    "name": "adamw",
    "learning_rate": 1e-3,
    **keyword_defaults(optim.create, exclude=("model_paths",)),
    "clip_norm": 1.0,
    "l1": 0.0,
    "l2": 0.0,
    "freeze": "",
    "width_scaling": "",
    "schedule": {"name": "warmup_cosine"},
  },
  "training": {
    "steps": 0,
    "epochs": 10.0,
    "dtype": "float32",
    "compile": "jit",
    "deterministic": False,
    **keyword_defaults(
      training.fit,
      exclude=(
        "batch_size",
        "compiler",
        "placement",
        "progress",
        "save_frozen",
        "seed",
        "workers",
      ),
    ),
  },
  "sharding": {"devices": 0},
}
"""`data.limit` trains on so many examples, and `data.eval_limit` evaluates on
at most so many of valid and of test; 0 takes all. `training.steps` of 0 takes
`training.epochs`; for 0 in the other numbers see `training.fit`.
`sharding.devices` of 0 takes all devices. `init` names the weights to start
from, see `transfer.load_pretrained`. `init.adapter` is a folder of PEFT for
them, see `transfer.load_adapters`: the strategy "lora" trains it further, and
others merge it. The strategy "scratch" loads no weights, so `init.allow`,
`init.family` and `init.head` have no effect. `data.augment` has a leaf for each
row of the tables of augmentations. `optim.width_scaling` has the widths of a
narrow model whose best learning rate the wider one shall have, see
`optim.width_scales`."""

OWN_RANGES = {
  "seed": training.RANGES["seed"],
  "data.batch_size": training.RANGES["batch_size"],
  "data.limit": (0, math.inf),
  "data.eval_limit": (0, math.inf),
  "data.workers": training.RANGES["workers"],
  "sharding.devices": (0, math.inf),
  "training.steps": (0, math.inf),
  "training.epochs": (0, math.inf),
}
"""Ranges of leaves that are not the argument of the same name of a function."""


def config(**sections: Any) -> ml_collections.ConfigDict:
  """Returns the tree of defaults with `sections` in place of their leaves.

  Example: `config(data={"name": "mnist"}, model={"name": "mlp"}, seed=3)`.

  Raises:
    UserError: a name or a setting is unknown (with the nearest), or a value
      is of another type than its default.
  """
  return ml_collections.ConfigDict(complete(sections))


def complete(sections: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the full tree of defaults, with the leaves of `sections` in it.

  Raises:
    UserError: a name or a setting is unknown (with the nearest), or a value
      is of another type than its default or out of range.
  """
  tree = copy.deepcopy(DEFAULTS)
  for table in augment.TABLES:
    tree["data"]["augment"] |= {name: off for name, (off, _) in table.items()}
  for section in TABLES:
    node, values = _at(tree, section), _find(sections, section)
    node["name"] = typed(
      node["name"], values.get("name", node["name"]), f"{section}.name"
    )
    own = settings(section, node["name"])
    _check_distinct(section, node, own)
    node |= own
  entries = {section: _at(tree, section)["name"] for section in TABLES}
  merge(tree, sections, entries)
  check_ranges(tree)
  return tree


def check_ranges(tree: Mapping[str, Any]) -> None:
  """Checks the numbers of a complete config.

  Raises:
    UserError: one is out of range; names its path in the config.
  """
  ranges = {f"training.{k}": v for k, v in training.RANGES.items()} | OWN_RANGES
  for path, value in leaves(tree).items():
    least, greatest = ranges.get(path, (value, value))
    if not least <= value <= greatest:
      most = "" if greatest == math.inf else f" and at most {greatest}"
      raise UserError(
        f"expected config.{path} of at least {least}{most}", f"got {value}"
      )
  for path in ("optim", "optim.schedule"):
    section = _at(tree, path)
    numbers = {k: v for k, v in section.items() if not isinstance(v, Mapping)}
    with qualify(f"config.{path}", numbers):
      optim.check(numbers, section["name"])


def select_entry(
  tree: Mapping[str, Any], section: str, name: str
) -> dict[str, Any]:
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


def own_settings(section: Mapping[str, Any], path: str) -> dict[str, Any]:
  """Returns the settings of a section's entry, without the common ones."""
  common = _at(DEFAULTS, path)
  return {key: value for key, value in section.items() if key not in common}


def leaves(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
  """Returns the leaves of a config by their paths: `"optim.name"`."""
  result = {}
  for key, value in tree.items():
    where = f"{path}{key}"
    if isinstance(value, Mapping):
      result |= leaves(value, f"{where}.")
    else:
      result[where] = value
  return result


def _check_distinct(
  section: str, common: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
  """Checks that an entry has no setting that the whole section has already."""
  for key in own.keys() & common.keys():
    raise UserError(
      f"expected other arguments than {', '.join(sorted(common))}",
      f"got {key!r} in the {TABLES[section].noun} {common['name']!r}",
      f"rename it: config.{section}.{key} is a setting of all entries",
    )


def _at(tree: Mapping[str, Any], path: str) -> Any:
  for part in path.split("."):
    tree = tree[part]
  return tree


def _find(tree: Mapping[str, Any], section: str) -> Mapping[str, Any]:
  """Returns a section of `tree`, empty if it is absent."""
  for part in section.split("."):
    tree = tree.get(part, {})
    if not isinstance(tree, Mapping):
      raise UserError(f"expected a section config.{section}", f"got {tree!r}")
  return tree


def no_variant(variant: str) -> None:
  """Checks that there is no `variant`, for a config file without variants.

  Raises:
    UserError: `variant` is not empty.
  """
  if variant:
    raise UserError(
      "expected no variant, because this config file has none",
      f"got the variant {variant!r}",
    )

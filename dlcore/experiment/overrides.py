"""From the command line to a complete config: a config file and overrides."""

import ast
import copy
import inspect
import logging
import os
import runpy
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore.errors import UserError, nearest
from dlcore.experiment import defaults
from dlcore.experiment.default_folder import run_name
from dlcore.experiment.renames import renamed, upgrade
from dlcore.filesystem import read_json

logger = logging.getLogger("dlcore")

MAX_BYTES = 1 << 26
"""Size above which no JSON file is read."""

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def read_config(
  file: str, overrides: Mapping[str, str], *, near: Path
) -> tuple[dict[str, Any], str]:
  """Returns the complete config of a config file, and the name of the file.

  Args:
    file: `"path/X.py"` or `"path/X.py:variant"`.
    overrides: `{"optim.learning_rate": "1e-3", ...}`. Names are applied
      first: an entry of a table defines the settings of its section. A section
      stands for its name: `{"optim": "sgd"}`.
      If the file has a function `plan(config, variant)`, it then returns
      further leaves by path, which depend on the data; overrides prevail.
    near: a folder of config files; a misspelled path gets the nearest of them.

  Returns:
    The config, and `X` or `X_variant`.

  Raises:
    UserError: the file is missing or fails, or a key or a value is invalid.
  """
  tree, name, _ = _read(file, overrides, near)
  return tree, name


def read_run(
  file: str, overrides: Mapping[str, str], *, near: Path
) -> tuple[dict[str, Any], str]:
  """Returns the config as `read_config`, and the name of its run.

  The name has the changes by the overrides: `"digits_cnn,seed=1"`.
  """
  tree, name, changes = _read(file, overrides, near)
  return tree, run_name(name, changes)


def _read(
  file: str, overrides: Mapping[str, str], near: Path
) -> tuple[dict[str, Any], str, dict[str, Any]]:
  """Returns the config, the name of the file and the changed leaves."""
  path, _, variant = file.partition(":")
  module: Mapping[str, Any] = {}
  if path.endswith(".json"):
    recipe = _read_json(Path(path), near)
  else:
    module = _load_module(Path(path), near)
    recipe = _get_config(Path(path), module, variant)
  overrides = {_full_key(recipe, key): text for key, text in overrides.items()}
  tree = override(recipe, overrides)
  _warn_of_other_data(path, recipe, tree)
  if plan := module.get("plan"):
    planned = _execute(Path(path), plan, tree, variant)
    planned = {key: planned[key] for key in planned if key not in overrides}
    tree = override(with_leaves(tree, planned), overrides)
  name = "_".join(filter(None, [Path(path).stem, variant]))
  before, after = defaults.leaves(recipe), defaults.leaves(tree)
  changes = {
    key: after[key]
    for key in overrides
    if key in after and after[key] != before.get(key)
  }
  return tree, name, changes


def override(
  tree: dict[str, Any], overrides: Mapping[str, str]
) -> dict[str, Any]:
  """Returns a complete config with overrides as on the command line.

  Args:
    tree: a complete config.
    overrides: texts by path, `{"optim.learning_rate": "1e-3"}`.

  Raises:
    UserError: a path is unknown, or a text is no value of its type.
  """
  tree = copy.deepcopy(tree)
  names = [key for key in overrides if key.split(".")[-1] == "name"]
  # A section precedes its subsections, which its name resets.
  for key in sorted(names, key=lambda key: key.count(".")):
    if overrides[key] != _leaf(tree, key):
      tree = defaults.select_entry(
        tree, key.removesuffix(".name"), overrides[key]
      )
  for key, text in overrides.items():
    if key not in names:
      set_leaf(tree, key, _parse(_leaf(tree, key), text, key))
  return defaults.complete(tree)


def with_leaves(
  tree: Mapping[str, Any], leaves: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns a complete config with other values of some leaves.

  Args:
    tree: a complete config.
    leaves: values by path, `{"optim.name": "sgd", "optim.momentum": 0.9}`.
      Names are applied first, as those of the command line.

  Raises:
    UserError: a path is unknown, or a value is of another type or out of range.
  """
  tree = copy.deepcopy(dict(tree))
  names = [key for key in leaves if key.split(".")[-1] == "name"]
  for key in sorted(names, key=lambda key: key.count(".")):
    if leaves[key] != _leaf(tree, key):
      section = key.removesuffix(".name")
      tree = defaults.select_entry(tree, section, leaves[key])
  for key in leaves.keys() - set(names):
    _leaf(tree, key)
    set_leaf(tree, key, leaves[key])
  return defaults.complete(tree)


def _warn_of_other_data(
  path: str, recipe: Mapping[str, Any], tree: Mapping[str, Any]
) -> None:
  """Warns if a recipe for one data set is given another."""
  own, other = recipe["data"]["name"], tree["data"]["name"]
  if own != other:
    logger.warning(
      "%s is a recipe for the data set %r: its augmentation, model and "
      "schedule may not suit %r",
      path,
      own,
      other,
    )


def read_space(file: str, *, near: Path) -> Any:
  """Returns the result of `space()` of a config file, None without it.

  Args:
    file: `"path/X.py"` or `"path/X.py:variant"`.
    near: as for `read_config`.

  Raises:
    UserError: the file is missing or fails.
  """
  path = Path(file.partition(":")[0])
  if path.suffix == ".json":
    return None
  space = _load_module(path, near).get("space")
  return _execute(path, space) if callable(space) else None


def _read_json(path: Path, near: Path) -> dict[str, Any]:
  """Returns the complete config of a JSON file, such as that of a run."""
  if not os.path.isfile(path):
    raise _no_file(path, near)
  try:
    content = read_json(path, max_bytes=MAX_BYTES)
  except (OSError, ValueError) as error:
    raise UserError(
      f"expected the JSON of a config in {path}", f"got: {error}"
    ) from error
  own = {key: value for key, value in content.items() if key != "imports"}
  return defaults.complete(upgrade(own))


def _load_module(path: Path, near: Path) -> dict[str, Any]:
  """Executes a config file, the user's own code, and returns its names."""
  if not os.path.isfile(path):
    raise _no_file(path, near)
  return _execute(path, runpy.run_path, str(path))


def _no_file(path: Path, near: Path) -> UserError:
  """Returns the error for a config file that does not exist."""
  folder = path if os.path.isdir(path) else path.parent
  pattern = f"*{path.suffix or '.py'}"
  has_configs = os.path.isdir(folder) and any(folder.glob(pattern))
  folder = folder if has_configs else near
  names = (entry.name for entry in folder.glob(pattern))
  return UserError(
    "expected the path of a config file",
    f"got {str(path) if path.name else ''!r}, which does not exist",
    f"in {folder}: {nearest(path.name, names)}",
  )


def _get_config(
  path: Path, module: Mapping[str, Any], variant: str
) -> dict[str, Any]:
  """Returns the complete config of a config file's `get_config`."""
  get_config = module.get("get_config")
  if not callable(get_config):
    raise UserError(
      f"expected a function get_config in {path}",
      f"got {get_config!r}",
    )
  arguments = (variant,) if variant else ()
  try:
    inspect.signature(get_config).bind(*arguments)
  except TypeError as error:
    raise UserError(
      f"expected get_config of {path} to take "
      + (f"the variant {variant!r}" if variant else "no argument"),
      f"got: {error}",
      'define it as get_config(variant="")',
    ) from None
  config = _execute(path, get_config, *arguments)
  if not hasattr(config, "to_dict"):
    raise UserError(
      f"expected get_config of {path} to return a ConfigDict",
      f"got {type(config).__name__}",
      "build it with dlcore.experiment.config(...)",
    )
  return defaults.complete(config.to_dict())


def _execute(path: Path, function: Callable[..., Any], *arguments: Any) -> Any:
  """Calls code of a config file; errors contain the line number in it."""
  try:
    return function(*arguments)
  except (UserError, KeyboardInterrupt):
    raise
  except SyntaxError as error:
    raise UserError(
      f"expected Python in {error.filename or path}",
      f"got {error.msg} (line {error.lineno or 1})",
    ) from error
  except (Exception, SystemExit) as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f" on line {lines[-1]}" if lines else ""
    raise UserError(
      f"expected {path} to run",
      f"got {type(error).__name__}{where}: {error}",
      "fix the file",
    ) from error


def _full_key(tree: Mapping[str, Any], key: str) -> str:
  """Returns the key of a section's name for that of the section itself.

  So `optim=sgd` is `optim.name=sgd`.
  """
  node: Any = tree
  for part in key.split("."):
    node = node.get(part) if isinstance(node, Mapping) else None
  named = isinstance(node, Mapping) and "name" in node
  return f"{key}.name" if named else key


def _leaf(tree: Mapping[str, Any], key: str) -> Any:
  """Returns the leaf at `key`.

  Raises:
    UserError: the key is unknown, with its new name or the nearest one, or is
      that of a section.
  """
  node: Any = tree
  path = ""
  for part in key.split("."):
    if not isinstance(node, Mapping) or part not in node:
      raise _unknown_key(tree, node, key, path)
    node = node[part]
    path += f"{part}."
  if isinstance(node, Mapping):
    raise UserError(
      "expected a single value of the config",
      f"got --config.{key}, which is a section",
      f"its keys are: {', '.join(node)}",
    )
  return node


def _unknown_key(
  tree: Mapping[str, Any], node: Any, key: str, path: str
) -> UserError:
  """Returns the error for a key with a part that is missing in `node`.

  Args:
    tree: the config.
    node: the deepest section, or leaf, that the key leads to.
    key: the whole key.
    path: the part of the key that leads to `node`, with a dot at its end.
  """
  leaves = defaults.leaves(tree)
  names = {
    leaf.removesuffix(".name"): value
    for leaf, value in leaves.items()
    if leaf.endswith(".name")
  }
  if new := renamed(key, names):
    return UserError(
      f"expected --config.{new}", f"got --config.{key}, its former name"
    )
  if not isinstance(node, Mapping):
    hint = f"{path[:-1]} is a single value"
  else:
    hint = nearest(key.removeprefix(path).split(".")[0], node)
    # The section may be missing in the key.
    anywhere = nearest(key, leaves)
    if not path and anywhere.startswith("did"):
      hint = anywhere
  return UserError("expected a key of the config", f"got --config.{key}", hint)


def set_leaf(tree: dict[str, Any], key: str, value: Any) -> None:
  """Sets the leaf at a path, in place."""
  *parents, last = key.split(".")
  for parent in parents:
    tree = tree[parent]
  tree[last] = value


def _parse(default: Any, text: str, key: str) -> Any:
  """Returns `text` as a value of the type of the leaf that it replaces."""
  kind = type(default)
  try:
    if kind is str:
      return text
    if kind is bool:
      return BOOLEANS[text.lower()]
    if kind is tuple:
      return _parse_tuple(default, text)
    return kind(text)
  except (KeyError, ValueError, SyntaxError, TypeError, RecursionError):
    raise UserError(
      f"expected --config.{key} of type {kind.__name__}, such as {default!r}",
      f"got {text!r}",
    ) from None


def _parse_tuple(default: tuple, text: str) -> tuple:
  """Parses `(1, 2)`, `1,2` or, if strings are expected, `red,green`."""
  try:
    with warnings.catch_warnings(action="ignore"):  # Of '\d' without an r.
      value = ast.literal_eval(text) if text else ()
  except (ValueError, SyntaxError):
    if not all(isinstance(item, str) for item in default):
      raise
    words = text.strip("()[]").split(",")
    return tuple(word.strip(" '\"") for word in words if word.strip())
  return tuple(value) if isinstance(value, list | tuple) else (value,)

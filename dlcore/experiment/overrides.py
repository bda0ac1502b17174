"""From the command line to a config: a file, and what is overridden in it."""

import ast
import inspect
import runpy
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.errors import UserError, nearest
from dlcore.experiment import defaults

FLAGS = {"true": True, "1": True, "false": False, "0": False}


def read_config(
  file: str, overrides: Mapping[str, str], *, near: Path
) -> tuple[dict[str, Any], str]:
  """Returns the complete tree of a config file, and a name for its run.

  Args:
    file: `"path/X.py"` or `"path/X.py:variant"`.
    overrides: `{"optim.learning_rate": "1e-3", ...}`. Names come first: they
      bring their own settings, to which the others then apply.
    near: a folder of configs, to suggest a name from.

  Raises:
    UserError: the file, a key or a value is wrong.
  """
  path, _, variant = file.partition(":")
  tree = defaults.complete(_load(Path(path), variant, near))
  # Sections before their subsections: a name resets what lies below it.
  names = sorted(key for key in overrides if key.split(".")[-1] == "name")
  for key in names:
    if overrides[key] != _leaf(tree, key):
      tree = defaults.rename(tree, key.removesuffix(".name"), overrides[key])
  for key in overrides.keys() - set(names):
    _put(tree, key, _value(_leaf(tree, key), overrides[key], key))
  name = "_".join(filter(None, [Path(path).stem, variant]))
  return defaults.complete(tree), name


def _load(path: Path, variant: str, near: Path) -> dict[str, Any]:
  """Runs a config file, which is the user's own code, and its get_config."""
  if not path.is_file():
    folder = path if path.is_dir() else path.parent
    folder = folder if any(folder.glob("*.py")) else near
    names = (entry.name for entry in folder.glob("*.py"))
    raise UserError(
      "expected the path of a config file",
      f"got {str(path) if path.name else ''!r}: no such file",
      f"in {folder}: {nearest(path.name, names)}",
    )
  get_config = _running(path, runpy.run_path, str(path)).get("get_config")
  if not callable(get_config):
    raise UserError(
      f"expected a function get_config in {path}",
      "got none" if get_config is None else f"got {get_config!r}",
    )
  given = (variant,) if variant else ()
  try:
    inspect.signature(get_config).bind(*given)
  except TypeError as error:
    raise UserError(
      f"expected get_config of {path} to take "
      + (f"the variant {variant!r}" if variant else "no argument"),
      f"got: {error}",
      'define it as get_config(variant="")',
    ) from None
  config = _running(path, get_config, *given)
  if not hasattr(config, "to_dict"):
    raise UserError(
      f"expected get_config of {path} to return a ConfigDict",
      f"got {type(config).__name__}",
      "build it with dlcore.experiment.config(...)",
    )
  return config.to_dict()


def _running(path: Path, function, *arguments) -> Any:
  """Calls what lies in a config file; its exceptions name the line in it."""
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
      "mend the file",
    ) from error


def _leaf(tree: Mapping[str, Any], key: str) -> Any:
  """Returns the leaf `key` of the tree, with the nearest name if it is none."""
  node: Any = tree
  path = ""
  for part in key.split("."):
    if not isinstance(node, Mapping) or part not in node:
      raise UserError(
        "expected a key of the config",
        f"got --config.{key}",
        _hint(tree, node, key, path),
      )
    node = node[part]
    path += f"{part}."
  if isinstance(node, Mapping):
    raise UserError(
      "expected a single value of the config",
      f"got --config.{key}, which is a section",
      f"its keys are: {', '.join(node)}",
    )
  return node


def _hint(tree: Mapping[str, Any], node: Any, key: str, path: str) -> str:
  """Suggests a key: among all, as a section may be missing, or in `node`."""
  if not isinstance(node, Mapping):
    return f"{path[:-1]} is a single value"
  anywhere = nearest(key, defaults.leaves(tree))
  if not path and anywhere.startswith("did"):
    return anywhere
  return nearest(key.removeprefix(path).split(".")[0], node)


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
  *parents, last = key.split(".")
  for parent in parents:
    tree = tree[parent]
  tree[last] = value


def _value(default: Any, text: str, key: str) -> Any:
  """Reads `text` in the type of the leaf that it replaces."""
  kind = type(default)
  try:
    if kind is str:
      return text
    if kind is bool:
      return FLAGS[text.lower()]
    if kind is tuple:
      return _sequence(default, text)
    return kind(text)
  except (KeyError, ValueError, SyntaxError, TypeError, RecursionError):
    raise UserError(
      f"expected --config.{key} of type {kind.__name__}, such as {default!r}",
      f"got {text!r}",
    ) from None


def _sequence(default: tuple, text: str) -> tuple:
  """Reads `(1, 2)`, `1,2` or, where no numbers are expected, `red,green`."""
  try:
    with warnings.catch_warnings(action="ignore"):  # '\d' for r'\d'.
      value = ast.literal_eval(text) if text else ()
  except (ValueError, SyntaxError):
    if not all(isinstance(item, str) for item in default):
      raise
    words = text.strip("()[]").split(",")
    return tuple(word.strip(" '\"") for word in words if word.strip())
  return tuple(value) if isinstance(value, list | tuple) else (value,)

"""The one shell around every script: flags, config, errors, cache, memory.

Importing this module imports neither jax nor anything else that is heavy, so
that a misspelt flag is answered at once and memory is set up in time.
"""

import ast
import contextlib
import ctypes
import logging
import os
import runpy
import stat
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from dlcore.errors import UserError, nearest

_ARGUMENTS: list[str] = []

BEGUN = time.monotonic()
"""When the process began, but for Python's own start."""

ROOT = Path(__file__).resolve().parent.parent
"""The checkout; the default config lies in it."""


def run(main: Callable[..., None], *, config: str | None = None) -> None:
  """Parses the command line, calls `main` and ends the process.

  A `UserError` is printed in at most three lines and the exit code is 1; any
  other exception is a bug and keeps its traceback.

  Args:
    main: called without arguments, or with `(config, name)` if `config` is
      given: the complete tree and what to call the run.
    config: the default of `--config`, a file in the checkout; None where the
      script takes no config.
  """
  sys.exit(call(main, sys.argv, config=config))


def call(
  main: Callable[..., None], argv: Sequence[str], *, config: str | None = None
) -> int:
  """Does what `run` does and returns the exit code."""
  _log_to_stderr()
  try:
    rest, file, overrides = _divide(argv)
    if "--help" in rest or "-h" in rest:
      print(_help(main, config))
      return 0
    _parse(rest, config is not None)
    if config is None:
      if file or overrides:
        raise UserError(
          "expected no --config here",
          "this script takes the config from the run folder",
          "remove it",
        )
      values = ()
    else:
      if _ARGUMENTS:
        raise UserError("expected flags only", f"got {_ARGUMENTS[0]!r}")
      values = read_config(file or str(ROOT / config), overrides)
    _prepare(*values[:1])
    main(*values)
    return 0
  except UserError as error:
    print("error:", "\n  ".join(error.lines), file=sys.stderr)
    return 1
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return 130
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
  except Exception as error:
    number = getattr(error, "number", None)
    if type(error).__name__ != "Stopped" or number is None:
      raise
    print(f"stopped by {error}; the same command goes on", file=sys.stderr)
    return 128 + number


def required(flag: flags.FlagHolder) -> Any:
  """Returns the value of a flag that must be given.

  Raises:
    UserError: it is not.
  """
  if not flag.value:
    raise UserError(f"expected --{flag.name}=VALUE", "got none")
  return flag.value


def arguments() -> list[str]:
  """Returns the arguments that are no flags."""
  return list(_ARGUMENTS)


def read_config(
  file: str, overrides: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
  """Returns the complete tree of a config file, and a name for its run.

  Args:
    file: `"path/X.py"` or `"path/X.py:variant"`.
    overrides: `{"optim.learning_rate": "1e-3", ...}`. Names come first: they
      bring their own settings, to which the others then apply.

  Raises:
    UserError: the file, a key or a value is wrong.
  """
  from dlcore import experiment  # Late: it imports jax.

  path, _, variant = file.partition(":")
  tree = experiment.complete(_load(Path(path), variant).to_dict())
  # Sections before their subsections: a name resets what lies below it.
  names = sorted(key for key in overrides if key.split(".")[-1] == "name")
  for key in names:
    section = key.removesuffix(".name")
    _leaf(tree, key)
    tree = experiment.rename(tree, section, overrides[key])
  given: dict[str, Any] = {}
  for key, text in overrides.items():
    if key not in names:
      value = _value(_leaf(tree, key), text, key)
      _put(tree, key, value)
      given[key] = value
  return experiment.complete(tree), "_".join(
    filter(None, [Path(path).stem, variant])
  )


def _load(path: Path, variant: str):
  """Runs a config file, which is the user's own code, and its get_config."""
  if not path.is_file():
    folder = path.parent if path.parent.is_dir() else ROOT / "configs"
    names = [entry.name for entry in folder.glob("*.py")]
    raise UserError(
      "expected the path of a config file",
      f"got {str(path)!r}, which is not there",
      f"in {folder}: {nearest(path.name, names)}",
    )
  try:
    module = runpy.run_path(str(path))
  except SyntaxError as error:
    raise UserError(
      f"expected Python in {path}", f"line {error.lineno}: {error.msg}"
    ) from error
  if "get_config" not in module:
    raise UserError(
      f"expected a function get_config in {path}", "there is none"
    )
  config = module["get_config"](variant) if variant else module["get_config"]()
  if not hasattr(config, "to_dict"):
    raise UserError(
      f"expected get_config of {path} to return a ConfigDict",
      f"got {type(config).__name__}",
      "build it with dlcore.experiment.config(...)",
    )
  return config


def _divide(
  argv: Sequence[str],
) -> tuple[list[str], str | None, dict[str, str]]:
  """Takes `--config...` out of the arguments: (rest, file, overrides)."""
  rest, file, overrides = [], None, {}
  arguments = iter(argv)
  for argument in arguments:
    name, equals, value = argument.lstrip("-").partition("=")
    ours = argument.startswith("-") and (
      name == "config" or name.startswith("config.")
    )
    if not ours:
      rest.append(argument)
      continue
    if not equals:
      value = next(arguments, None)
      if value is None:
        raise UserError(f"expected --{name}=VALUE", f"got --{name} alone")
    if name == "config":
      file = value
    else:
      overrides[name.removeprefix("config.")] = value
  return rest, file, overrides


def _leaf(tree: Mapping[str, Any], key: str) -> Any:
  """Returns the leaf `key` of the tree, with the nearest name if it is none."""
  node: Any = tree
  for depth, part in enumerate(key.split(".")):
    if not isinstance(node, Mapping) or part not in node:
      known = _keys(tree)
      level = [k for k in known if k.startswith(key.rsplit(".", 1)[0] + ".")]
      hint = nearest(key, known if depth == 0 or not level else level)
      raise UserError(
        "expected a key of the config", f"got --config.{key}", hint
      )
    node = node[part]
  if isinstance(node, Mapping):
    raise UserError(
      "expected a single value of the config",
      f"got --config.{key}, which is a section",
      f"its keys are: {', '.join(node)}",
    )
  return node


def _keys(tree: Mapping[str, Any], path: str = "") -> list[str]:
  keys = []
  for key, value in tree.items():
    if isinstance(value, Mapping):
      keys += _keys(value, f"{path}{key}.")
    else:
      keys.append(f"{path}{key}")
  return keys


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
      return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
    if kind is tuple:
      value = ast.literal_eval(text)
      return tuple(value) if isinstance(value, list | tuple) else (value,)
    return kind(text)
  except (KeyError, ValueError, SyntaxError, TypeError):
    raise UserError(
      f"expected --config.{key} of type {kind.__name__}, such as {default!r}",
      f"got {text!r}",
    ) from None


def _parse(argv: list[str], takes_config: bool) -> None:
  try:
    _ARGUMENTS[:] = flags.FLAGS(argv)[1:]
  except flags.UnrecognizedFlagError as error:
    names = [*_own_flags(), *(["config"] if takes_config else [])]
    raise UserError(
      "expected a known flag",
      f"got --{error.flagname}",
      nearest(error.flagname, names),
    ) from None
  except flags.Error as error:
    raise UserError(
      "expected good flags", str(error).replace("\n", " ")
    ) from None


def _own_flags() -> list[str]:
  """Returns the flags that the script itself defines."""
  names = []
  for module, defined in flags.FLAGS.flags_by_module_dict().items():
    if not module.startswith("absl"):
      names += [flag.name for flag in defined]
  return names


def _help(main: Callable[..., None], config: str | None) -> str:
  lines = [(sys.modules[main.__module__].__doc__ or "").strip(), "", "flags:"]
  if config is not None:
    lines.append(
      f"  --config=FILE[:VARIANT]  the experiment (default {config})"
    )
    lines.append("  --config.KEY=VALUE       overrides one of its values")
  for name in sorted(_own_flags()):
    flag = flags.FLAGS[name]
    lines.append(f"  --{name}={flag.default}  {flag.help}")
  return "\n".join(lines)


def _log_to_stderr() -> None:
  """Shows the warnings of dlcore plainly, and only errors of the others."""
  logger = logging.getLogger("dlcore")
  if not logger.handlers:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False
  for name in ("absl", "orbax", "jax"):
    logging.getLogger(name).setLevel(logging.ERROR)


def _prepare(config: Mapping[str, Any] | None = None) -> None:
  """Sets up memory and the compilation cache, before the backend starts."""
  keep_memory()
  if config is not None and config["training"]["deterministic"]:
    chosen = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{chosen} --xla_gpu_deterministic_ops=true"
  cache_compilations()


def keep_memory() -> None:
  """Tells glibc to keep large blocks instead of returning them every step.

  The kernel's page faults may otherwise cost more than the arithmetic.
  """
  with contextlib.suppress(OSError, AttributeError):
    libc = ctypes.CDLL("libc.so.6")
    threshold, trim, pad = -3, -1, -2  # The names of malloc.h.
    libc.mallopt(threshold, 2**31 - 1)
    libc.mallopt(trim, 2**31 - 1)
    libc.mallopt(pad, 256 << 20)


def cache_compilations() -> None:
  """Keeps compiled programs in a folder that only its owner can write."""
  import jax

  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  root = os.environ.get("DLCORE_CACHE") or Path.home() / ".cache" / "dlcore"
  folder = Path(root) / "xla"
  try:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
  except OSError:
    return
  open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
  if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
    return
  if open_to_others:
    folder.chmod(0o700)
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

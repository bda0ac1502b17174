"""The shell of every script: flags, config, errors, exit codes, memory, cache.

This module does not import jax or other heavy packages, so that an unknown
flag is reported at once and malloc is configured before jax allocates.
"""

import importlib
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from dlcore import backend, interruption, standard_streams
from dlcore.errors import UserError, nearest
from dlcore.exceptions import as_user_error
from dlcore.status_line import status

START_TIME = time.monotonic()
"""The start of the process, without the start of the interpreter."""

ROOT = Path(__file__).resolve().parent.parent
"""The root of the checkout, which holds the default config."""

EXIT_CODES = {
  "success": 0,
  "failure": 1,
  "mistake": 2,
  "interrupted": 130,
  "terminated": 143,
}
"""The exit codes of every script.

- failure: an unexpected error, printed with its traceback; also a closed pipe.
- mistake: an error that the user can fix, printed in at most three lines:
  flags, config, data or files, and too little memory or disk space.
- interrupted, terminated: SIGINT or SIGTERM, 128 plus the number of the
  signal. The same command resumes the run.
"""

_ARGUMENTS: list[str] = []
_CONFIG_FILES: list[str] = []


def run(main: Callable[..., None], *, config: str | None = None) -> None:
  """Parses the command line, calls `main` and exits with one of `EXIT_CODES`.

  Args:
    main: called without arguments, or with `(config, name)` if `config` is
      not None: the complete config and a name for the run.
    config: the default of `--config`, a file in the checkout, or None if the
      script takes no config.
  """
  standard_streams.open_closed()
  signal.signal(signal.SIGINT, interruption.interrupt)
  interruption.watch()
  sys.excepthook = standard_streams.print_exception
  threading.excepthook = lambda arguments: standard_streams.print_exception(
    *arguments[:3]
  )
  code = call(main, sys.argv, config=config)
  if code:  # Messages of libraries at exit would follow the error message.
    sys.unraisablehook = lambda _: None
  sys.exit(code)


def call(
  main: Callable[..., None], argv: Sequence[str], *, config: str | None = None
) -> int:
  """Parses the command line, calls `main` and returns the exit code.

  Unexpected errors propagate.
  """
  standard_streams.log_to_stderr()
  try:
    rest, file, overrides, modules = _split_arguments(argv)
    _import(modules)
    if "--help" in rest or "-h" in rest:
      print(_help(main, config))
      if config is not None:
        print(_config_help(*_read_config(config, file, overrides)))
      return EXIT_CODES["success"]
    _parse(rest, config is not None)
    if config is None:
      _check_no_config(file, overrides)
      values = ()
    else:
      no_arguments()
      values = _read_config(config, file, overrides)
    backend.configure(*values[:1])
    main(*values)
    return EXIT_CODES["success"]
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return EXIT_CODES["interrupted"]
  except Exception as error:
    code = _report_expected(error, takes_config=config is not None)
    if code is None:
      raise
    return code


def _check_no_config(file: str | None, overrides: Mapping[str, str]) -> None:
  if file is not None or overrides:
    raise UserError(
      "expected no --config: this script reads that of the run folder",
      f"got {file or f'--config.{next(iter(overrides))}'}",
      "remove it",
    )


def _read_config(
  default: str, file: str | None, overrides: Mapping[str, str]
) -> tuple[dict[str, Any], str]:
  """Returns the complete config, and a name for its run."""
  with status("importing jax", enabled="jax" not in sys.modules):
    from dlcore import experiment  # Not at the top, since it imports jax.

  file = str(ROOT / default) if file is None else file
  _CONFIG_FILES[:] = [file]
  return experiment.read_run(file, overrides, near=ROOT / "configs")


def required(flag: flags.FlagHolder) -> Any:
  """Returns the value of a required flag.

  Raises:
    UserError: the flag is missing or empty.
  """
  if not flag.value:
    got = "no" if flag.value is None else "an empty"
    raise UserError(f"expected --{flag.name}=VALUE", f"got {got} --{flag.name}")
  return flag.value


def arguments() -> list[str]:
  """Returns the positional arguments of the command line."""
  return list(_ARGUMENTS)


def config_file() -> str:
  """Returns the file of the config that was read, with its variant."""
  return _CONFIG_FILES[0]


def no_arguments() -> None:
  """Raises if the command line has positional arguments.

  Raises:
    UserError: gives the first of them.
  """
  if _ARGUMENTS:
    raise UserError(
      "expected flags only",
      f"got {_ARGUMENTS[0]!r}",
      "write --name=value; --help lists the flags",
    )


def _report_expected(error: Exception, *, takes_config: bool) -> int | None:
  """Prints an expected error and returns its exit code.

  Returns:
    One of `EXIT_CODES`, or None for unexpected errors, which are not printed.
  """
  # Compared by name, since the module of the class imports jax.
  if type(error).__name__ == "Stopped":
    message = f"stopped by {error}; the same command resumes the run"
    print(message, file=sys.stderr)
    return 128 + error.number  # pyright: ignore
  if isinstance(error, BrokenPipeError):
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_CODES["failure"]
  mistake = as_user_error(error, takes_config=takes_config)
  if mistake is None:
    return None
  # Quoted text may contain line breaks.
  lines = (" ".join(line.split()) for line in mistake.lines[:3])
  print("error:", "\n  ".join(lines), file=sys.stderr)
  return EXIT_CODES["mistake"]


class _Arguments(NamedTuple):
  """The arguments of the command line that dlcore parses itself, and others."""

  rest: list[str]
  file: str | None
  """The value of `--config`."""

  overrides: dict[str, str]
  modules: list[str]
  """The values of `--import`."""


def _split_arguments(argv: Sequence[str]) -> _Arguments:
  """Separates `--config...` and `--import` from the other arguments."""
  rest, overrides = [], {}
  files: list[str] = []
  modules: list[str] = []
  arguments = iter(argv)
  for argument in arguments:
    if argument == "--":
      rest += [argument, *arguments]
      break
    name, equals, value = argument.lstrip("-").partition("=")
    is_own = name in ("config", "import") or name.startswith("config.")
    if not (argument.startswith("-") and is_own):
      rest.append(argument)
      continue
    if not equals:
      value = next(arguments, "--")
      if value.startswith("--"):
        raise UserError(f"expected --{name}=VALUE", f"got --{name} alone")
    if name == "config":
      files.append(value)
    elif name == "import":
      modules += value.split(",")
    else:
      overrides[name.removeprefix("config.")] = value
  if len(set(files)) > 1:
    raise UserError("expected one --config", f"got {' and '.join(files)}")
  return _Arguments(rest, files[0] if files else None, overrides, modules)


def _import(modules: Sequence[str]) -> None:
  """Imports the modules of `--import`, and registers their parts.

  The user names them on this command line; no other name is ever imported.
  """
  if not modules:
    return
  with status("importing jax", enabled="jax" not in sys.modules):
    from dlcore.experiment import registration  # Not at the top: imports jax.

  sys.path.append(os.getcwd())
  for name in modules:
    try:
      module = importlib.import_module(name)
    except UserError:
      raise
    except (Exception, SystemExit) as error:
      raise _import_error(name, error) from error
    registration.register(module)


def _import_error(name: str, error: BaseException) -> UserError:
  """Returns an error with the line of a module that fails."""
  frames = traceback.extract_tb(error.__traceback__)
  own = [f for f in frames if "importlib" not in f.filename]
  last = own[-1] if len(own) > 1 else None
  where = f" in line {last.lineno} of {last.filename}" if last else ""
  return UserError(
    f"expected the module {name!r} to be imported",
    f"got {type(error).__name__}: {error}{where}",
    "modules are searched in the current folder and among installed packages",
  )


def _parse(argv: list[str], takes_config: bool) -> None:
  try:
    _ARGUMENTS[:] = flags.FLAGS(argv)[1:]
  except flags.UnrecognizedFlagError as error:
    names = [*_own_flags(), "import", *(["config"] if takes_config else [])]
    raise UserError(
      "expected a flag of this script",
      f"got --{error.flagname}",
      nearest(error.flagname, names),
    ) from None
  except flags.Error as error:
    raise _flag_error(str(error)) from None


def _flag_error(text: str) -> UserError:
  """Returns absl's message for a flag as a `UserError`."""
  illegal = re.match(r"flag --(\w+)=(.*?): ", text, re.DOTALL)
  if illegal is None:
    return UserError("expected flags as --NAME=VALUE", f"got: {text}")
  name, value = illegal.groups()
  kind = flags.FLAGS[name].flag_type()
  return UserError(f"expected --{name} of type {kind}", f"got {value!r}")


def _own_flags() -> list[str]:
  """Returns the flags that the script defines."""
  names = []
  for module, defined in flags.FLAGS.flags_by_module_dict().items():
    if not module.startswith("absl"):
      names += [flag.name for flag in defined]
  return names


def _help(main: Callable[..., None], config: str | None) -> str:
  lines = [(main.__globals__.get("__doc__") or "").strip(), ""]
  names = sorted(_own_flags())
  lines.append("flags:")
  if config is not None:
    lines.append(
      f"  --config=FILE[:VARIANT]  the experiment (default {config})"
    )
    lines.append("  --config.KEY=VALUE       overrides one of the keys below")
  lines.append("  --import=MODULE          adds the models, tasks, ... in it")
  for name in names:
    flag = flags.FLAGS[name]
    default = flag.default
    suffix = "" if default in (None, "") else f" (default {default})"
    lines.append(f"  --{name}={flag.flag_type().upper()}  {flag.help}{suffix}")
  codes = (f"{code} {name}" for name, code in EXIT_CODES.items())
  lines.append(f"exit codes: {', '.join(codes)}")
  return "\n".join(lines)


def _config_help(tree: Mapping[str, Any], name: str) -> str:
  """Returns the keys of a config with its values, a line each."""
  from dlcore import experiment

  leaves = experiment.leaves(tree).items()
  return "\n".join(
    [
      "",
      f"the config {name}; a name, such as config.model.name, brings its own "
      "keys:",
      *(f"  --config.{path}={value}" for path, value in leaves),
    ]
  )

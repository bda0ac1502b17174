"""The one shell around every script: flags, config, errors, cache, memory.

Importing this module imports neither jax nor anything else that is heavy, so
that a misspelt flag is answered at once and memory is set up in time.
"""

import contextlib
import ctypes
import errno
import logging
import os
import re
import signal
import stat
import sys
import threading
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

FULL = (errno.ENOSPC, errno.EDQUOT)


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
  signal.signal(signal.SIGINT, _interrupt)
  sys.excepthook = _print_exception
  threading.excepthook = lambda arguments: _print_exception(*arguments[:3])
  code = call(main, sys.argv, config=config)
  if code:  # What libraries say at the end would bury the lines above it.
    sys.unraisablehook = lambda _: None
  sys.exit(code)


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
      if file is not None or overrides:
        raise UserError(
          "expected no --config here",
          "this script takes the config from the run folder",
          "remove it",
        )
      values = ()
    else:
      no_arguments()
      from dlcore import experiment  # Late: it imports jax.

      file = str(ROOT / config) if file is None else file
      values = experiment.read_config(file, overrides, near=ROOT / "configs")
    _prepare(*values[:1])
    main(*values)
    return 0
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return 130
  except Exception as error:
    code = _told(error)
    if code is None:
      raise
    return code


def required(flag: flags.FlagHolder) -> Any:
  """Returns the value of a flag that must be given.

  Raises:
    UserError: it is not, or it is empty.
  """
  if not flag.value:
    got = "none" if flag.value is None else "an empty one"
    raise UserError(f"expected --{flag.name}=VALUE", f"got {got}")
  return flag.value


def arguments() -> list[str]:
  """Returns the arguments that are no flags."""
  return list(_ARGUMENTS)


def no_arguments() -> None:
  """Refuses arguments that are no flags.

  Raises:
    UserError: there is one.
  """
  if _ARGUMENTS:
    raise UserError(
      "expected flags only",
      f"got {_ARGUMENTS[0]!r}",
      "write --name=value; --help lists the flags",
    )


def _told(error: Exception) -> int | None:
  """Tells what is no bug, and returns the exit code; None for a bug."""
  if type(error).__name__ == "Stopped":  # Its module imports jax.
    print(f"stopped by {error}; the same command goes on", file=sys.stderr)
    return 128 + error.number  # pyright: ignore
  if isinstance(error, BrokenPipeError):
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
  mistake: BaseException | None = error
  # What closes the files after a mistake may fail as well: the first counts.
  while mistake is not None and not isinstance(mistake, UserError):
    mistake = mistake.__context__
  if mistake is None and _is_full(error):
    mistake = UserError(
      "expected space on the disk, which is full",
      f"got: {error}",
      "free some space and run the same command again: it goes on",
    )
  if mistake is None:
    return None
  # Each line is one, whatever was quoted in it.
  lines = (" ".join(line.split()) for line in mistake.lines[:3])
  print("error:", "\n  ".join(lines), file=sys.stderr)
  return 1


def _is_full(error: BaseException) -> bool:
  return isinstance(error, OSError) and error.errno in FULL


def _interrupt(number: int, frame) -> None:
  """Leaves at once; inside its steps, training has a handler of its own.

  A KeyboardInterrupt is lost where it comes up in a callback, such as the one
  that JAX gives to the garbage collector, and the run would go on.
  """
  del frame
  os.write(2, b"interrupted\n")
  os._exit(128 + number)


def _print_exception(kind, error, trace) -> None:
  """Prints an exception, but not what background writers say of a full disk.

  The save fails with it, and that is told; TensorStore's callbacks would add
  hundreds of tracebacks.
  """
  callback = kind is RuntimeError and str(error) == "Event loop is closed"
  if not callback and not _is_full(error):
    sys.__excepthook__(kind, error, trace)


def _divide(
  argv: Sequence[str],
) -> tuple[list[str], str | None, dict[str, str]]:
  """Takes `--config...` out of the arguments: (rest, file, overrides)."""
  rest, overrides = [], {}
  files: list[str] = []
  arguments = iter(argv)
  for argument in arguments:
    if argument == "--":
      rest += [argument, *arguments]
      break
    name, equals, value = argument.lstrip("-").partition("=")
    ours = argument.startswith("-") and (
      name == "config" or name.startswith("config.")
    )
    if not ours:
      rest.append(argument)
      continue
    if not equals:
      value = next(arguments, "--")
      if value.startswith("--"):
        raise UserError(f"expected --{name}=VALUE", f"got --{name} alone")
    if name == "config":
      files.append(value)
    else:
      overrides[name.removeprefix("config.")] = value
  if len(set(files)) > 1:
    raise UserError("expected one --config", f"got {' and '.join(files)}")
  return rest, files[0] if files else None, overrides


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
    raise _bad_value(str(error)) from None


def _bad_value(text: str) -> UserError:
  """Returns what absl says of a flag's value in the form of this shell."""
  illegal = re.match(r"flag --(\w+)=(.*?): ", text, re.DOTALL)
  if illegal is None:
    return UserError("expected --NAME=VALUE of every flag", f"got: {text}")
  name, value = illegal.groups()
  kind = flags.FLAGS[name].flag_type()
  return UserError(f"expected --{name} of type {kind}", f"got {value!r}")


def _own_flags() -> list[str]:
  """Returns the flags that the script itself defines."""
  names = []
  for module, defined in flags.FLAGS.flags_by_module_dict().items():
    if not module.startswith("absl"):
      names += [flag.name for flag in defined]
  return names


def _help(main: Callable[..., None], config: str | None) -> str:
  lines = [(main.__globals__.get("__doc__") or "").strip(), ""]
  names = sorted(_own_flags())
  if config is not None or names:
    lines.append("flags:")
  if config is not None:
    lines.append(
      f"  --config=FILE[:VARIANT]  the experiment (default {config})"
    )
    lines.append("  --config.KEY=VALUE       overrides one of its values")
  for name in names:
    flag = flags.FLAGS[name]
    given = "" if flag.default in (None, "") else f" (default {flag.default})"
    lines.append(f"  --{name}={flag.flag_type().upper()}  {flag.help}{given}")
  return "\n".join(lines)


def _log_to_stderr() -> None:
  """Shows what dlcore says, a line each, and little of the others."""
  logger = logging.getLogger("dlcore")
  if not any(isinstance(h.formatter, _Lines) for h in logger.handlers):
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
  for name in (None, "orbax", "jax"):  # tensorboardX logs as the root.
    logging.getLogger(name).setLevel(logging.ERROR)
  # Orbax logs as absl the tracebacks of errors that it also raises.
  logging.getLogger("absl").setLevel(logging.CRITICAL)


class _Lines(logging.Formatter):
  """Writes a note as it is, and what is worse with its level."""

  def format(self, record: logging.LogRecord) -> str:
    text = " ".join(record.getMessage().split())
    if record.levelno <= logging.INFO:
      return text
    return f"{record.levelname.lower()}: {text}"


def _prepare(config: Mapping[str, Any] | None = None) -> None:
  """Sets up memory and the compilation cache, before the backend starts."""
  keep_memory()
  if config is not None and config["training"]["deterministic"]:
    chosen = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{chosen} --xla_gpu_deterministic_ops=true"
  cache_compilations()


def keep_memory() -> None:
  """Tells glibc to keep large blocks instead of returning them every step.

  The kernel's page faults may otherwise cost more than the arithmetic. All
  threads share one arena, since those of threads hold blocks of up to 64 MB.
  """
  with contextlib.suppress(OSError, AttributeError):
    libc = ctypes.CDLL("libc.so.6")
    # The names of malloc.h.
    threshold, trim, pad, arenas = -3, -1, -2, -8
    libc.mallopt(threshold, 2**31 - 1)
    libc.mallopt(trim, 2**31 - 1)
    libc.mallopt(pad, 256 << 20)
    libc.mallopt(arenas, 1)


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

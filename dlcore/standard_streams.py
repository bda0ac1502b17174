"""What a command prints: messages of dlcore, one line for each warning."""

import logging
import os
import sys

from dlcore.exceptions import is_disk_full


def open_closed() -> None:
  """Replaces standard streams that the shell closed, such as by `2>&-`."""
  for name in ("stdout", "stderr"):
    if getattr(sys, name) is None:
      setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def print_exception(kind, error, trace) -> None:
  """Prints an exception, except those of background writes to a full disk.

  The save itself reports the full disk; TensorStore's callbacks would add
  hundreds of tracebacks.
  """
  callback = kind is RuntimeError and str(error) == "Event loop is closed"
  if not callback and not is_disk_full(error):
    sys.__excepthook__(kind, error, trace)


def log_to_stderr() -> None:
  """Logs dlcore's messages, and errors of other packages."""
  logger = logging.getLogger("dlcore")
  if not any(isinstance(h.formatter, _Formatter) for h in logger.handlers):
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
  for name in (None, "orbax", "jax"):  # tensorboardX uses the root logger.
    logging.getLogger(name).setLevel(logging.ERROR)
  # Orbax logs tracebacks of errors that it also raises to absl's logger.
  logging.getLogger("absl").setLevel(logging.CRITICAL)


class _Formatter(logging.Formatter):
  """Formats tables of information as they are, and warnings as one line."""

  def format(self, record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.levelno <= logging.INFO:
      return "\n".join(map(str.rstrip, message.splitlines()))
    return f"{record.levelname.lower()}: {' '.join(message.split())}"

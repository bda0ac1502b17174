"""Exceptions that a user can fix, such as a full disk, as `UserError`."""

import errno
import re

from dlcore.errors import UserError
from dlcore.host_memory import binary_size

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def as_user_error(
  error: BaseException, *, takes_config: bool
) -> UserError | None:
  """Returns the `UserError` that explains an exception, None for a bug.

  An exception that is raised while a `UserError` propagates, for example by
  closing a file, does not hide it.

  Args:
    error: the exception.
    takes_config: whether the remedy may name settings of a config.
  """
  chain = [error]
  while chain[-1].__context__ is not None:
    chain.append(chain[-1].__context__)
  for cause in chain:
    if isinstance(cause, UserError):
      return cause
  for cause in chain:
    if _is_out_of_memory(cause):
      return _out_of_memory(cause, takes_config)
  if is_disk_full(error):
    return UserError(
      "expected free disk space",
      f"got: {error}",
      "free some space and run the same command again to resume",
    )
  if isinstance(error, PermissionError) and error.filename is not None:
    return UserError(
      f"expected the permission to use {error.filename}",
      f"got: {error.strerror}",
    )
  if isinstance(error, ValueError) and "embedded null byte" in str(error):
    return UserError("expected paths without null bytes", f"got: {error}")
  return None


def is_disk_full(error: BaseException) -> bool:
  """Returns whether the system has reported a full disk or quota."""
  return isinstance(error, OSError) and error.errno in DISK_FULL


def _is_out_of_memory(error: BaseException) -> bool:
  if isinstance(error, MemoryError):
    return True
  # Compared by name, since importing the class would import jax.
  names = ("JaxRuntimeError", "XlaRuntimeError")
  return type(error).__name__ in names and "RESOURCE_EXHAUSTED" in str(error)


def _out_of_memory(error: BaseException, takes_config: bool) -> UserError:
  """Returns an error with the exhausted memory and the size of the request."""
  host = isinstance(error, MemoryError)
  if takes_config:
    remedy = (
      "use a larger training.accumulate, model.remat=true or a smaller "
      "data.batch_size"
    )
  else:
    remedy = "free memory, or use a device with more memory"
  return UserError(
    f"expected the program to fit into {'host' if host else 'device'} memory",
    _requested_memory(str(error)),
    remedy,
  )


def _requested_memory(message: str) -> str:
  """Returns the size in an out-of-memory message, otherwise its beginning."""
  if match := re.search(r"(\d+) bytes", message):
    return f"got a request for {binary_size(int(match[1]))}"
  if match := re.search(r"allocate (\d[\d.]* [KMGTPE]?i?B)", message):
    return f"got a request for {match[1]}"
  # XLA's message for TPUs, in which the sizes follow a long header.
  size = r"\d[\d.]*[KMGT]"
  pattern = rf"{size} exceeds available HBM \({size}\)|{size} of {size} hbm"
  if match := re.search(pattern, message):
    return f"got a program that uses {match[0]}"
  return f"got: {message[:160] or 'a MemoryError'}"

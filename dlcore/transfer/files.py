"""Files from elsewhere: plain ones only, looked at before they are read."""

import contextlib
import errno
import json
import os
import shlex
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from dlcore.errors import UserError

LARGEST = 1 << 26
"""Of a JSON file, in bytes."""

POINTER = b"version https://git-lfs"
"""What stands in a clone for a large file that Git LFS did not fetch."""


def shown(value: Any) -> str:
  """Returns what a stranger wrote for a message: short, without control."""
  text = repr(value)
  return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"


def opened(path: Path, within: Path | None = None) -> IO[bytes]:
  """Opens a plain file, and sees that it is no pointer to one.

  Args:
    path: of the file.
    within: a folder of ours: links that lead into it are followed.

  Raises:
    UserError: it is absent, a link, a folder, a pipe, a pointer of Git LFS, or
      cannot be read.
  """
  if within and path.resolve().is_relative_to(within.resolve()):
    path = path.resolve()
  # Opening a pipe would wait for its other end.
  flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
  try:
    handle = os.open(path, flags)
  except (OSError, ValueError) as error:
    link = isinstance(error, OSError) and error.errno == errno.ELOOP
    reason = "a link" if link else getattr(error, "strerror", "") or str(error)
    raise _not_plain(path, reason) from error
  if not stat.S_ISREG(os.fstat(handle).st_mode):
    os.close(handle)
    raise _not_plain(path, "something else")
  file = os.fdopen(handle, "rb")
  if file.peek(len(POINTER)).startswith(POINTER):
    file.close()
    raise UserError(
      f"expected the content of {path}",
      "got a pointer of Git LFS to it",
      f"run: git -C {shlex.quote(str(path.parent))} lfs pull",
    )
  return file


def _not_plain(path: Path, got: str) -> UserError:
  return UserError(
    f"expected a plain file at {path}",
    f"got {got}",
    "name the file itself, or put a copy there",
  )


def size(file: IO[bytes]) -> int:
  """Returns the number of bytes of an open file."""
  return os.fstat(file.fileno()).st_size


def read_json(path: Path, within: Path | None = None) -> dict[str, Any]:
  """Returns the object in a JSON file.

  Raises:
    UserError: it is no plain file, too large, or no JSON object.
  """
  return read(path, parsed, "a JSON object", within)


def read(
  path: Path,
  parse: Callable[[bytes], Any],
  what: str,
  within: Path | None = None,
) -> Any:
  """Returns what `parse` makes of the bytes of a file of at most `LARGEST`.

  Raises:
    UserError: it is no plain file, too large, or `parse` found no such thing
      (a `ValueError`).
  """
  with opened(path, within) as file:
    try:
      if size(file) > LARGEST:
        raise ValueError(f"{size(file):,} bytes")
      return parse(file.read())
    except ValueError as error:
      raise UserError(
        f"expected {what} in {path}, of at most {LARGEST:,} bytes",
        f"got {error}",
        "put a good copy there",
      ) from error


def parsed(text: bytes) -> dict[str, Any]:
  """Returns a JSON object in which no name comes twice.

  Raises:
    ValueError: it is something else.
  """
  try:
    value = json.loads(
      text.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse
    )
  except RecursionError:
    raise ValueError("JSON that is nested too deeply") from None
  if not isinstance(value, dict):
    raise ValueError(f"a JSON {type(value).__name__} in place of an object")
  return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found: dict[str, Any] = {}
  for name, value in pairs:
    if name in found:
      raise ValueError(f"the name {shown(name)} twice")
    found[name] = value
  return found


def _refuse(constant: str) -> None:
  raise ValueError(f"{constant}, which is no JSON")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
  """Opens a new file that takes the place of `path` when it is whole."""
  temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
  temporary.unlink(missing_ok=True)  # It might be a link to elsewhere.
  try:
    with temporary.open("xb") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    temporary.replace(path)
  finally:
    temporary.unlink(missing_ok=True)


def write(path: Path, put: Callable[[IO[bytes]], Any]) -> None:
  """Writes a file by `put(file)`, all of it or nothing.

  Raises:
    UserError: there is no room, or no right to write.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
      put(file)
  except OSError as error:
    raise UserError(
      f"expected to write {path}",
      f"got: {error.strerror or error}",
      "choose another place, or free some space",
    ) from error

"""Bounded reading of JSON from plain files of untrusted sources."""

import collections
import errno
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

MAX_DEPTH = 64
"""Lists and objects inside of each other. Functions such as `json.dumps` and
`repr` would fail at some hundreds."""


def read_json(
  path: Path, *, max_bytes: int, expect: type = dict, strict: bool = False
) -> Any:
  """Returns the JSON value in a file, by default an object.

  Args:
    path: a plain file; its last component must not be a link.
    max_bytes: size above which the file is refused before it is parsed.
    expect: type of the value, `dict` or `list`.
    strict: see `parse_json`.

  Raises:
    OSError: the file is missing or cannot be read.
    ValueError: it is a link, not a plain file, too large or not such JSON.
      The message is the reason alone, without the path.
  """
  with open_plain(path) as file:
    content = file.read(max_bytes + 1)
  if len(content) > max_bytes:
    raise ValueError(f"the file is larger than {max_bytes:,} bytes")
  return parse_json(content, expect=expect, strict=strict)


def open_plain(path: Path) -> IO[bytes]:
  """Opens a plain file for reading, without following a link at `path`.

  Raises:
    OSError: the file is missing or cannot be read.
    ValueError: it is a link, a folder, a pipe or a device.
  """
  # Without O_NONBLOCK, opening a pipe waits for a writer.
  flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
  try:
    handle = os.open(path, flags)
  except OSError as error:
    if error.errno == errno.ELOOP:
      raise ValueError("it is a link") from error
    raise
  if not stat.S_ISREG(os.fstat(handle).st_mode):
    os.close(handle)
    raise ValueError("it is not a plain file")
  return os.fdopen(handle, "rb")


def parse_json(
  content: bytes, *, expect: type = dict, strict: bool = False
) -> Any:
  """Returns the JSON value that UTF-8 bytes encode.

  Args:
    content: the bytes.
    expect: type of the value, `dict` or `list`.
    strict: whether to refuse repeated names in an object and the constants
      NaN, Infinity and -Infinity. Python writes the latter; JSON lacks them.

  Raises:
    ValueError: the bytes are not such JSON, or nested more than 64 deep.
  """
  options: dict[str, Any] = {}
  if strict:
    options = {"object_pairs_hook": _unique, "parse_constant": _refuse}
  try:
    value = json.loads(content.decode("utf-8"), **options)
  except RecursionError:
    raise _too_deep() from None
  _check_depth(value)
  if not isinstance(value, expect):
    wanted = "object" if expect is dict else expect.__name__
    raise ValueError(
      f"expected a JSON {wanted}, got a value of type {type(value).__name__}"
    )
  return value


def _check_depth(value: Any) -> None:
  containers = [value] if isinstance(value, dict | list) else []
  for _ in range(MAX_DEPTH):
    if not containers:
      return
    containers = [
      item
      for container in containers
      for item in (
        container.values() if isinstance(container, dict) else container
      )
      if isinstance(item, dict | list)
    ]
  if containers:
    raise _too_deep()


def _too_deep() -> ValueError:
  return ValueError(f"the JSON is nested more than {MAX_DEPTH} deep")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  value = dict(pairs)
  if len(value) < len(pairs):
    counts = collections.Counter(name for name, _ in pairs)
    repeated, _ = counts.most_common(1)[0]
    raise ValueError(f"the name {repeated[:60]!r} occurs twice in an object")
  return value


def _refuse(constant: str) -> None:
  raise ValueError(f"{constant} is not valid JSON")

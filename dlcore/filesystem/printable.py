"""Text of any origin, for the terminal and for messages."""

from typing import Any


def printable(text: object) -> str:
  """Returns `str(text)` with escapes for bytes of paths that are not UTF-8.

  Python represents them by lone surrogates, at which `print` fails in most
  locales.
  """
  return str(text).encode("utf-8", "backslashreplace").decode()


def quoted(value: Any) -> str:
  """Returns `repr(value)`, shortened to 80 printable characters."""
  text = repr(value)
  return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"


def first_line(error: BaseException) -> str:
  """Returns the first line of a message, shortened to 120 characters."""
  lines = str(error).strip().splitlines() or [""]
  return "".join(c for c in lines[0] if c.isprintable())[:120]

"""The name of a long phase of a command on standard error."""

import contextlib
import sys
from collections.abc import Iterator

ERASE = "\x1b[K"
"""Erases a terminal's line from the cursor to its end."""


@contextlib.contextmanager
def status(text: str, *, enabled: bool = True) -> Iterator[None]:
  """Shows `text` on standard error during the block.

  In a terminal it is erased afterwards, and messages in the meantime overwrite
  it. Elsewhere it is a line that stays.

  Args:
    text: names the phase.
    enabled: whether to show anything.
  """
  stream = sys.stderr if enabled else None  # None also if it is closed.
  if stream is None:
    yield
    return
  in_terminal = stream.isatty()
  # The cursor stays at the start of the line.
  print(text, file=stream, end="\r" if in_terminal else "\n", flush=True)
  try:
    yield
  finally:
    if in_terminal:
      print(ERASE, file=stream, end="", flush=True)

"""The name of a long phase of a command on standard error."""

import contextlib
import sys
import threading
from collections.abc import Iterator

ERASE = "\x1b[K"
"""Erases a terminal's line from the cursor to its end."""

LONG_SECONDS = 5.0
"""Seconds after which a phase has a line where there is no terminal."""


@contextlib.contextmanager
def status(text: str, *, enabled: bool = True) -> Iterator[None]:
  """Shows `text` on standard error during the block.

  In a terminal it is erased afterwards, and messages in the meantime overwrite
  it. Elsewhere a block that lasts more than a few seconds has a line.

  Args:
    text: names the phase.
    enabled: whether to show anything.
  """
  stream = sys.stderr if enabled else None  # None also if it is closed.
  if stream is None:
    yield
    return
  if not stream.isatty():
    timer = threading.Timer(
      LONG_SECONDS, print, (text,), {"file": stream, "flush": True}
    )
    timer.daemon = True
    timer.start()
    try:
      yield
    finally:
      timer.cancel()
    return
  # The cursor stays at the start of the line.
  print(text, file=stream, end="\r", flush=True)
  try:
    yield
  finally:
    print(ERASE, file=stream, end="", flush=True)

"""Leaving in time: SIGTERM and SIGINT ask the loop to save and stop."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Stopped(Exception):
  """A signal has stopped the run; its state is saved."""

  def __init__(self, number: int, step: int):
    """Takes the number of the signal and the step that was saved."""
    self.number = number
    self.step = step
    super().__init__(f"{signal.Signals(number).name} after step {step}")


class Flag:
  """Holds the number of the signal that came, or 0."""

  def __init__(self):
    self.number = 0

  def asked(self) -> bool:
    """Tells whether the run is to stop."""
    return self.number != 0

  def set(self, number: int, frame) -> None:
    """Handles a signal; the second SIGINT interrupts at once."""
    del frame
    if self.number == number == signal.SIGINT:
      raise KeyboardInterrupt
    self.number = number


@contextlib.contextmanager
def handled() -> Iterator[Flag]:
  """Sets a flag on SIGTERM and SIGINT instead of dying, inside the block.

  Outside of the main thread, where Python allows no handlers, the flag is
  never set.
  """
  flag = Flag()
  if threading.current_thread() is not threading.main_thread():
    yield flag
    return
  numbers = (signal.SIGTERM, signal.SIGINT)
  before = {number: signal.signal(number, flag.set) for number in numbers}
  try:
    yield flag
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)

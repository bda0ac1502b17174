"""Requests to stop: SIGTERM and SIGINT let the loop save before it leaves."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Stopped(Exception):
  """A signal has stopped the run; its state is saved."""

  def __init__(self, number: int, step: int, state: Any = None):
    """Takes the number of the signal, and the step and state at the stop.

    Of a run without a folder, `state` is the only result.
    """
    self.number = number
    self.step = step
    self.state = state
    super().__init__(f"{signal.Signals(number).name} after step {step}")


class StopRequest:
  """The number of the signal that was received, or 0."""

  def __init__(self):
    self.number = 0

  def __bool__(self) -> bool:
    return self.number != 0

  def handle(self, number: int, frame) -> None:
    """Records a signal; the second SIGINT interrupts at once."""
    del frame
    if self.number == number == signal.SIGINT:
      raise KeyboardInterrupt
    self.number = number


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequest]:
  """Records SIGTERM and SIGINT inside the block instead of terminating.

  Outside of the main thread, where Python allows no handlers, the request is
  never set.
  """
  request = StopRequest()
  if threading.current_thread() is not threading.main_thread():
    yield request
    return
  numbers = (signal.SIGTERM, signal.SIGINT)
  previous = {
    number: signal.signal(number, request.handle) for number in numbers
  }
  try:
    yield request
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)

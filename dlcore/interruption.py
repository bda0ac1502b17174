"""Ctrl-C outside of the training loop, which has its own handlers."""

import contextlib
import os
import signal
import threading
import time

HANDLER_SECONDS = 0.5
"""The time after which a handler that was not called never will be."""


def interrupt(number: int, frame) -> None:
  """Exits at once; the training loop replaces this handler.

  A KeyboardInterrupt is lost if it is raised in a callback, such as JAX's
  callback of the garbage collector, and the program would continue.
  """
  del frame
  os.write(2, b"interrupted\n")
  os._exit(128 + number)


def watch() -> None:
  """Lets Ctrl-C end the process while the main thread waits in a library.

  Python calls handlers between two instructions of the main thread, so a
  thread reads the signals that the system delivers: the first ends the process
  outside of the training loop, and the third ends it anywhere.
  """
  read, write = os.pipe()
  os.set_blocking(write, False)
  signal.set_wakeup_fd(write, warn_on_full_buffer=False)

  def ignore() -> None:
    with contextlib.suppress(ValueError):  # Outside of the main thread.
      signal.set_wakeup_fd(-1)

  # The signals of a forked process are not those of this one.
  os.register_at_fork(after_in_child=ignore)

  def wait() -> None:
    count = 0
    while number := os.read(read, 1):
      count += number[0] == signal.SIGINT
      is_default = signal.getsignal(signal.SIGINT) is interrupt
      if count > 2 or (count and is_default):
        time.sleep(HANDLER_SECONDS)  # For the handler, if it can run.
        interrupt(signal.SIGINT, None)

  threading.Thread(target=wait, name="interrupts", daemon=True).start()

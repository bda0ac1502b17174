"""The memory of this process and its peak."""

import ctypes
from pathlib import Path


def reset_peak() -> int:
  """Resets the peak of this process and returns its memory, in bytes."""
  ctypes.CDLL("libc.so.6").malloc_trim(0)
  Path("/proc/self/clear_refs").write_text("5")
  return process_memory("VmRSS")


def process_memory(name: str) -> int:
  """Returns a line of `/proc/self/status` in bytes."""
  lines = Path("/proc/self/status").read_text().splitlines()
  return next(1024 * int(s.split()[1]) for s in lines if s.startswith(name))

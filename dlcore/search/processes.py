"""Identities of processes, by which others see whether one has ended."""

import os
import time
import uuid
from pathlib import Path
from typing import NamedTuple

LEASE_SECONDS = 60.0
"""Time without a sign of life after which another machine's process is dead."""


class Worker(NamedTuple):
  """A process that works on a search."""

  host: str
  """Of the boot of its machine; other containers have other processes."""

  pid: int
  start: str
  """Distinguishes it from a later process with the same number."""

  def to_json(self) -> str:
    """Returns the identity as text."""
    return f"{self.host}/{self.pid}/{self.start}"


def this_worker() -> Worker:
  """Returns the identity of this process."""
  return Worker(_host(), os.getpid(), _start(os.getpid()) or uuid.uuid4().hex)


def is_dead(worker: str, seen: float) -> bool:
  """Returns whether a process has ended.

  Args:
    worker: its identity.
    seen: time of its last sign of life, in seconds since 1970.
  """
  host, _, rest = worker.partition("/")
  pid, _, start = rest.partition("/")
  if host == _host() and pid.isdigit():
    return _start(int(pid)) != start
  return time.time() - seen > LEASE_SECONDS


def _host() -> str:
  """Returns the identity of this boot and its namespace of processes."""
  boot = Path("/proc/sys/kernel/random/boot_id")
  try:
    namespace = os.readlink("/proc/self/ns/pid")
    return f"{boot.read_text().strip()}-{namespace}"
  except OSError:  # Not Linux.
    return f"{uuid.getnode():x}-{os.uname().nodename}"


def _start(pid: int) -> str:
  """Returns the start time of a process, `""` if it does not exist."""
  try:
    stat = Path(f"/proc/{pid}/stat").read_text()
  except OSError:
    return ""
  fields = stat.rpartition(")")[2].split()
  return "" if fields[0] in ("Z", "X") else fields[19]

"""A command in a process of its own, with bounds on time and memory."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from messy_inputs.case import ROOT

from dlcore import command

MISTAKE = command.EXIT_CODES["mistake"]
INTERVAL = 0.1
"""Seconds between two looks at the process."""


class Bounds(NamedTuple):
  """The bounds of a command."""

  seconds: float
  """CPU time, and likewise the time without any use of the CPU."""

  memory: int
  """Resident bytes."""


class Outcome(NamedTuple):
  """The outcome of a command."""

  name: str
  """"trained", "refused", "traceback", "hang", "memory" or "silent"."""

  reason: str = ""
  seconds: float = 0.0
  """CPU time."""

  peak: int = 0
  """Resident bytes at most."""


def run(arguments: Sequence[str], folder: Path, bounds: Bounds) -> Outcome:
  """Runs train.py in `folder`, with its output in the file output there."""
  output = folder / "output"
  with output.open("wb") as file:
    process = subprocess.Popen(
      [sys.executable, str(ROOT / "experiments" / "train.py"), *arguments],
      stdin=subprocess.DEVNULL,
      stdout=file,
      stderr=file,
      cwd=folder,
      start_new_session=True,
    )
  seconds = int(bounds.seconds) + 1
  resource.prlimit(process.pid, resource.RLIMIT_CPU, (seconds, seconds))
  killed, status, usage = _watch(process.pid, bounds)
  lines = output.read_text(errors="replace").splitlines()
  spent = usage.ru_utime + usage.ru_stime
  if not killed and os.WIFSIGNALED(status) and spent > bounds.seconds:
    killed = "hang"
  code = os.waitstatus_to_exitcode(status)
  process.returncode = code  # It was waited for here.
  name, reason = (killed, "") if killed else _classify(code, lines)
  return Outcome(name, reason, round(spent, 1), 1024 * usage.ru_maxrss)


def _watch(
  process: int, bounds: Bounds
) -> tuple[str, int, resource.struct_rusage]:
  """Waits for the end; kills a process beyond its bounds."""
  killed, used, idle = "", 0.0, 0.0
  while True:
    done, status, usage = os.wait4(process, os.WNOHANG)
    if done:
      return killed, status, usage
    state, now, resident = _look(process)
    # A suspended process is not hung.
    idle = idle + INTERVAL if now == used and state not in "Tt" else 0.0
    used = now
    if not killed and (idle > bounds.seconds or resident > bounds.memory):
      killed = "hang" if idle > bounds.seconds else "memory"
      os.killpg(process, signal.SIGKILL)
    time.sleep(INTERVAL)


def _look(process: int) -> tuple[str, float, int]:
  """Returns state, CPU seconds and resident bytes of a process in Linux."""
  try:
    stat = Path(f"/proc/{process}/stat").read_text()
  except OSError:
    return "Z", 0.0, 0
  fields = stat.rpartition(")")[2].split()
  ticks = int(fields[11]) + int(fields[12])
  pages = int(fields[21])
  return (
    fields[0],
    ticks / os.sysconf("SC_CLK_TCK"),
    pages * os.sysconf("SC_PAGE_SIZE"),
  )


def is_defect(reason: str) -> bool:
  """Returns whether a config of dlcore failed, which reads as a user's."""
  return re.search(r"expected \S*\bconfigs/\w+\.py to run", reason) is not None


def _classify(code: int, lines: Sequence[str]) -> tuple[str, str]:
  """Returns outcome and reason of a command that ended by itself."""
  lines = [line for line in lines if line.strip()]
  if any(line.startswith("Traceback (most recent") for line in lines):
    return "traceback", lines[-1][:300]
  if code == 0:
    return "trained", ""
  starts = [i for i, line in enumerate(lines) if line.startswith("error:")]
  if code == MISTAKE and len(starts) == 1 and len(lines) - starts[0] <= 3:
    reason = " / ".join(line.strip() for line in lines[starts[0] :])
    return ("traceback" if is_defect(reason) else "refused"), reason
  last = lines[-1][:300] if lines else "no output"
  return "traceback", f"exit code {code}: {last}"

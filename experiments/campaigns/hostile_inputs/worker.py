"""Forked workers with bounds on time and memory, and their outcomes."""

import faulthandler
import json
import logging
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hostile_inputs.case import ROOT, Case, Script, run

from dlcore import command

OUTCOMES = ("worked", "refused", "traceback", "hang", "memory", "abort",
            "foreign", "silent")  # fmt: skip
BAD = OUTCOMES[2:]
MISTAKE = command.EXIT_CODES["mistake"]
PROGRAMS = (
  *("gs", "gswin32c", "convert", "magick", "identify", "inkscape", "dot"),
  *("ffmpeg", "djpeg", "cjpeg", "ppmquant", "display", "xdg-open", "file"),
  *("gzip", "tar", "unzip", "curl", "wget", "git", "nvcc"),
)
"""Stubs, first on the PATH, that record that they were started."""

EVENTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
          "pickle.find_class")  # fmt: skip
"""Audit events of foreign code."""

WALL = 30
"""Bound on the wall time over that on the CPU time. Blocked processes end
sooner: after the latter without use of the CPU."""


class Bounds(NamedTuple):
  """The bounds of a case."""

  seconds: float
  """CPU time from the end of the input's generation."""

  memory: int
  """Resident bytes of the process; one request has four times as many."""


class Outcome(NamedTuple):
  """The outcome of a case."""

  name: str
  reason: str = ""
  where: str = ""
  """File and line of the last frame in dlcore."""

  seconds: float = 0.0
  """CPU time of the call."""

  peak: int = 0
  """Resident bytes at most."""


def write_stubs(folder: Path) -> Path:
  """Writes the stubs; returns the file in which they record their start."""
  started = folder / "started"
  programs = folder / "programs"
  programs.mkdir(parents=True, exist_ok=True)
  for name in PROGRAMS:
    path = programs / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> {started}\nexit 1\n')
    path.chmod(0o755)
  return started


def call(
  make: Callable[[], Case], folder: Path, bounds: Bounds, started: Path
) -> Outcome:
  """Makes a case in a forked process, calls it and classifies the outcome."""
  started.unlink(missing_ok=True)
  receive, send = os.pipe()
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # JAX warns of forks.
    process = os.fork()
  if process == 0:
    os.close(receive)
    # Not in the parent, which runs git for the provenance.
    os.environ["PATH"] = f"{started.parent / 'programs'}:{os.environ['PATH']}"
    _work(make, folder, bounds, send)
  os.close(send)
  outcome = _watch(process, receive, folder, bounds)
  if started.exists():
    return outcome._replace(
      name="foreign", reason=started.read_text()[:200].strip()
    )
  if outcome.name == "abort":
    text = _read(folder / "stderr")
    lines = [line for line in text.splitlines() if line.strip()]
    reason = f"{outcome.reason}: {(lines or [''])[0][:200]}"
    return outcome._replace(reason=reason, where=_native_frame(lines))
  return outcome


def _watch(process: int, receive: int, folder: Path, bounds: Bounds) -> Outcome:
  """Waits for a worker; kills it when it exceeds a bound."""
  os.set_blocking(receive, False)
  content, begin, last, killed = b"", None, 0.0, ""
  waited = idle = 0.0
  now = time.monotonic()
  while True:
    done, status, usage = os.wait4(process, os.WNOHANG)
    content += _drain(receive)
    if done:
      break
    used, before, now = _cpu(process), now, time.monotonic()
    if begin is None and b"\n" in content:
      begin = last = used
    elif begin is not None and not killed:
      # A long interval means that this process was suspended, not the worker.
      passed = 0.0 if _is_stopped(process) else min(now - before, 1.0)
      waited += passed
      idle = 0.0 if used > last else idle + passed
      last = used
      if max(used - begin, idle, waited / WALL) > bounds.seconds:
        killed = "hang"
      elif _status(process, "VmRSS") > bounds.memory:
        killed = "memory"
      if killed:
        os.killpg(process, signal.SIGKILL)
    time.sleep(0.01)
  os.close(receive)
  lines = content.splitlines()
  spent = usage.ru_utime + usage.ru_stime - (begin or 0.0)
  if killed:
    reason = f"killed after {spent:.1f} CPU seconds, {waited:.1f} s in all"
    return Outcome(killed, reason, seconds=spent)
  if len(lines) > 1:
    outcome = Outcome(*json.loads(lines[1]))
    if outcome.peak > bounds.memory:
      return outcome._replace(name="memory", reason=f"{outcome.peak:,} bytes")
    return outcome
  if not lines:
    return Outcome("invalid", _read(folder / "stderr").strip()[-200:])
  if os.WIFSIGNALED(status):
    reason = signal.Signals(os.WTERMSIG(status)).name
  else:
    reason = f"exit code {os.waitstatus_to_exitcode(status)} without a result"
  return Outcome("abort", reason, seconds=spent)


def _drain(receive: int) -> bytes:
  try:
    return os.read(receive, 1 << 16)
  except BlockingIOError:
    return b""


def _cpu(process: int) -> float:
  """Returns the CPU seconds of a process."""
  ticks = sum(map(int, _state(process)[11:13]))
  return ticks / os.sysconf("SC_CLK_TCK")


def _is_stopped(process: int) -> bool:
  """Returns whether a process is suspended, as by SIGSTOP."""
  return _state(process)[:1] in (["T"], ["t"])


def _state(process: int) -> list[str]:
  """Returns the fields of Linux's description that follow the name."""
  return _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()


def _status(process: int | str, name: str) -> int:
  """Returns a size in bytes from Linux's description of a process."""
  for line in _read(Path(f"/proc/{process}/status")).splitlines():
    if line.startswith(f"{name}:"):
      return 1024 * int(line.split()[1])
  return 0


def _read(path: Path) -> str:
  try:
    return path.read_text(errors="replace")
  except OSError:
    return ""


def _native_frame(lines: list[str]) -> str:
  """Returns the last frame of dlcore in the output of faulthandler."""
  frames = [line for line in lines if line.lstrip().startswith("File ")]
  own = [line for line in frames if "dlcore/" in line]
  return (
    (own or frames or [""])[0]
    .split(str(ROOT))[-1]
    .strip(' /"')
    .replace('", line ', ":")
  )


def _work(
  make: Callable[[], Case], folder: Path, bounds: Bounds, send: int
) -> None:
  """Makes and calls a case, reports the outcome and ends the process."""
  try:
    os.setpgid(0, 0)
    _redirect(folder)
    os.chdir(folder)
    case = make()
  except BaseException:
    traceback.print_exc()
    os._exit(1)
  Path("/proc/self/clear_refs").write_text("5")  # Resets the peak.
  resource.setrlimit(resource.RLIMIT_AS, (4 * bounds.memory, 4 * bounds.memory))
  foreign: list[str] = []
  _audit(foreign)
  os.write(send, b"ready\n")
  start = time.process_time()
  outcome = _classify(case, folder)
  spent = time.process_time() - start
  if foreign and outcome.name != "silent":
    outcome = outcome._replace(name="foreign", reason=foreign[0])
  peak = _status("self", "VmHWM")
  result = outcome._replace(seconds=spent, peak=peak)
  os.write(send, (json.dumps(result) + "\n").encode()[:60_000])
  os._exit(0)


def _redirect(folder: Path) -> None:
  """Captures the standard streams in files of `folder`."""
  empty = os.open(os.devnull, os.O_RDONLY)
  os.dup2(empty, 0)
  for number, name in ((1, "stdout"), (2, "stderr")):
    file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, number)
    os.close(file)
  sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
  sys.stderr = os.fdopen(
    2, "w", buffering=1, errors="backslashreplace", closefd=False
  )
  logging.getLogger("dlcore").handlers.clear()  # They hold the parent's stream.
  faulthandler.enable(os.fdopen(os.dup(2), "w"))


def _audit(foreign: list[str]) -> None:
  """Records the starts of programs and the classes of pickles."""

  def hook(event: str, arguments: Any) -> None:
    if event in EVENTS:
      foreign.append(f"{event} {str(arguments)[:150]}")

  sys.addaudithook(hook)


def _classify(case: Case, folder: Path) -> Outcome:
  """Calls a case; returns the outcome by its exit code or exception."""
  try:
    code, value = run(case.call)
  except BaseException as error:
    return _failure(error)
  for stream in (sys.stdout, sys.stderr):
    if stream is not None:
      stream.flush()
  messages = _read(folder / "stderr")
  if "Traceback (most recent call last)" in messages:
    last = [x for x in messages.splitlines() if x.strip()][-1]
    return Outcome("traceback", f"printed: {last[:200]}")
  lines = [line for line in messages.splitlines() if line.strip()]
  if code == MISTAKE:
    at = [i for i, line in enumerate(lines) if line.startswith("error:")]
    closed = isinstance(case.call, Script) and 2 in case.call.closed
    if not closed and (len(at) != 1 or len(lines) - at[0] > 3):
      return Outcome("traceback", f"{len(lines)} lines in place of three")
    return Outcome("refused", " / ".join(lines[at[0] :])[:300] if at else "")
  if code:
    return Outcome(
      "traceback", f"exit code {code}: {(lines or [''])[-1][:200]}"
    )
  if reason := case.silent(value):
    return Outcome("silent", reason)
  return Outcome("worked")


def _failure(error: BaseException) -> Outcome:
  """Returns the outcome of an exception that the shell does not expect."""
  frames = traceback.extract_tb(error.__traceback__)[-2000:]
  inside = [f for f in frames if "/dlcore/" in f.filename]
  frame = (inside or frames)[-1]
  path = Path(frame.filename)
  name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
  text = " ".join(str(error).split())[:200]
  return Outcome(
    "traceback", f"{type(error).__name__}: {text}", f"{name}:{frame.lineno}"
  )


def case_of(
  seed: int, number: int, kinds: dict[str, Any]
) -> tuple[str, str, Callable[[Path, Path], Case]]:
  """Returns kind, name and maker of a case, a function of seed and number.

  Even numbers are written on purpose, all of a kind in turn; odd ones are
  valid inputs that are mutated.
  """
  names = list(kinds)
  kind = names[number // 2 % len(names)]
  written = kinds[kind].written
  name, make = "mutated", kinds[kind].mutate
  if number % 2 == 0:
    name = list(written)[number // 2 // len(names) % len(written)]
    make = written[name]
  generator = random.Random(f"{seed}:{number}")
  return kind, name, lambda folder, valid: make(folder, generator, valid)

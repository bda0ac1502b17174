"""Training processes that a campaign disturbs, and what they end with."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from dlcore import trees
from dlcore.training import checkpoint, manifest

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("seconds", "examples_per_second")
"""The fields of metrics.jsonl that two equal runs need not share."""

MOMENTS = ("step", "feed", "evaluation", "checkpoint", "write", "anywhere")
"""What the run does when it is disturbed; `write` is the background's save."""


class Child:
  """A training process that tells which phase it is in."""

  def __init__(self, run: Path, placement: str, overrides: dict, *flags_: str):
    """Starts it in the folder `run`, with more flags for the script."""
    self._run = run
    self._board = run.with_suffix(".phase")
    self._board.write_bytes(bytes(16))
    arguments = {"data.placement": placement, **overrides}
    self._process = subprocess.Popen(
      [
        sys.executable,
        str(ROOT / "experiments" / "campaigns" / "phased_train.py"),
        f"--board={self._board}",
        f"--workdir={run}",
        *(f"--config.{key}={value}" for key, value in arguments.items()),
        *flags_,
      ],
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
      stderr=(run.parent / f"{run.name}.log").open("a"),
    )

  def wait(self) -> int:
    """Waits for the end; returns the exit code."""
    return self._process.wait()

  def finish(self) -> float:
    """Waits for a good end; returns the seconds since the first step."""
    begun = self._first_step()
    if self._process.wait() != 0:
      raise RuntimeError(f"{self._run} failed; see its log")
    return time.monotonic() - begun

  def kill(self, moment: str, after: float, *numbers: int) -> bool:
    """Sends signals at the first `moment` that comes `after` seconds of steps.

    Args:
      moment: one of `MOMENTS`.
      after: seconds since the first step.
      *numbers: of the signals, sent 50 ms apart; SIGKILL if there are none.

    Returns:
      Whether the process was still there.
    """
    deadline = self._first_step() + after
    while self._process.poll() is None:
      if time.monotonic() > deadline and self._at(moment):
        for number in numbers or (signal.SIGKILL,):
          self._process.send_signal(number)
          time.sleep(0.05)
        self._process.wait()
        return True
      time.sleep(0.0002)
    if self._process.returncode != 0:
      raise RuntimeError(f"{self._run} failed; see its log")
    return False

  def _first_step(self) -> float:
    while self._process.poll() is None and not self._at("step"):
      time.sleep(0.001)
    return time.monotonic()

  def _at(self, moment: str) -> bool:
    if moment == "anywhere":
      return True
    if moment == "write":
      folder = self._run / "checkpoints"
      steps = folder.iterdir() if folder.is_dir() else ()
      return any(not (step / manifest.NAME).exists() for step in steps)
    return self._board.read_bytes().rstrip(b"\0").decode() == moment


def commit() -> str:
  """Returns the commit that is measured, empty outside of a checkout."""
  command_line = ["git", "rev-parse", "--short", "HEAD"]
  told = subprocess.run(
    command_line, cwd=ROOT, capture_output=True, text=True, check=False
  )
  return told.stdout.strip()


def outcome(run: Path) -> tuple[dict[str, np.ndarray], list[dict]]:
  """Returns the leaves of the last checkpoint, and the log without times."""
  return leaves(run), log(run)


def leaves(run: Path) -> dict[str, np.ndarray]:
  """Returns the leaves of the last checkpoint, none where there is none."""
  step = checkpoint.newest(run / "checkpoints")
  if step is None:
    return {}
  return trees.flatten(checkpoint.read(run / "checkpoints", step))


def log(run: Path) -> list[dict]:
  """Returns the lines of the log without times."""
  lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
  return [
    {key: value for key, value in line.items() if key not in TIMES}
    for line in lines
  ]


def equal(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
  """Tells whether arrays by name are the same, bit for bit."""
  return left.keys() == right.keys() and all(
    left[name].tobytes() == right[name].tobytes() for name in left
  )


def difference(wanted, got) -> str:
  """Names the first thing that is not the same; empty if all is."""
  if wanted[0].keys() != got[0].keys():
    return "other leaves"
  for path, leaf in wanted[0].items():
    if leaf.tobytes() != got[0][path].tobytes():
      return f"leaf {path}"
  for left, right in zip(wanted[1], got[1], strict=False):
    if left != right:
      return f"line {left} became {right}"
  return "" if len(wanted[1]) == len(got[1]) else "other lines"

"""Training processes that a campaign disturbs, and their results."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import experiment, storage, trees
from dlcore.storage import manifest

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("seconds", "examples_per_second")
"""The fields of metrics.jsonl in which two equal runs may differ."""

PHASES = ("step", "feed", "evaluation", "checkpoint", "write", "anywhere")
"""The phases of a run in which it is disturbed. `write` is a save in the
background, `anywhere` any phase."""


class Kind(NamedTuple):
  """A kind of run that a campaign disturbs."""

  overrides: dict[str, Any]
  """Values of the config, by path."""

  config: str = "configs/digits_cnn.py"
  """A config file in the checkout, with a variant if any."""

  def with_defaults(self, values: dict[str, Any]) -> "Kind":
    """Returns the kind with `values` for the paths that it has no value of."""
    return self._replace(overrides={**values, **self.overrides})

  def complete(self) -> dict[str, Any]:
    """Returns the complete config."""
    texts = {path: str(value) for path, value in self.overrides.items()}
    near = ROOT / "configs"
    return experiment.read_run(str(ROOT / self.config), texts, near=near)[0]


class Child:
  """A training process that writes its current phase to a file."""

  def __init__(self, run: Path, placement: str, kind: Kind, *flags_: str):
    """Starts it in the folder `run`.

    Args:
      run: the run folder.
      placement: value of `data.placement`.
      kind: the config of the run.
      *flags_: further arguments of the script.
    """
    self._run = run
    self._phase_file = run.with_suffix(".phase")
    self._phase_file.write_bytes(bytes(16))
    arguments = {"data.placement": placement, **kind.overrides}
    self._process = subprocess.Popen(
      [
        sys.executable,
        str(ROOT / "experiments" / "campaigns" / "phased_train.py"),
        f"--phase_file={self._phase_file}",
        f"--workdir={run}",
        f"--config={kind.config}",
        *(f"--config.{key}={value}" for key, value in arguments.items()),
        *flags_,
      ],
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
      stderr=(run.parent / f"{run.name}.log").open("a"),
    )

  def wait(self) -> int:
    """Waits for the end of the process and returns its exit code."""
    return self._process.wait()

  def finish(self) -> float:
    """Waits for the end, which must be a success.

    Returns:
      The seconds from the first step to the last. The evaluation after it is
      not counted: it may compile, which a continued run need not.
    """
    start = last = self._first_step()
    while self._process.poll() is None:
      if self._is_in("step"):
        last = time.monotonic()
      time.sleep(0.001)
    if self._process.returncode != 0:
      raise RuntimeError(f"{self._run} failed; see its log")
    return last - start

  def kill(self, phase: str, after: float, *signals: int) -> bool:
    """Sends signals in the first `phase` that is later than `after`.

    Args:
      phase: one of `PHASES`.
      after: seconds since the first step.
      *signals: their numbers, sent 50 ms apart; by default SIGKILL.

    Returns:
      Whether the process was still running.
    """
    deadline = self._first_step() + after
    while self._process.poll() is None:
      if time.monotonic() > deadline and self._is_in(phase):
        for number in signals or (signal.SIGKILL,):
          self._process.send_signal(number)
          time.sleep(0.05)
        self._process.wait()
        return True
      time.sleep(0.0002)
    if self._process.returncode != 0:
      raise RuntimeError(f"{self._run} failed; see its log")
    return False

  def _first_step(self) -> float:
    while self._process.poll() is None and not self._is_in("step"):
      time.sleep(0.001)
    return time.monotonic()

  def _is_in(self, phase: str) -> bool:
    if phase == "anywhere":
      return True
    if phase == "write":
      return any(
        not (step / manifest.NAME).exists()
        for part in parts(self._run)
        for step in (part / "checkpoints").glob("*")
      )
    return self._phase_file.read_bytes().rstrip(b"\0").decode() == phase


def outcome(run: Path) -> tuple[dict[str, np.ndarray], list[dict]]:
  """Returns the leaves of the last checkpoint, and the log without times."""
  return leaves(run), log(run)


def leaves(run: Path) -> dict[str, np.ndarray]:
  """Returns the leaves of the last checkpoint of every phase, by path."""
  found = {}
  for part in parts(run):
    step = storage.newest_step(part / "checkpoints")
    if step is not None:
      tree = storage.read_checkpoint(part / "checkpoints", step)
      found |= {
        str(part.relative_to(run) / path): leaf
        for path, leaf in trees.flatten(tree).items()
      }
  return found


def log(run: Path) -> list[dict]:
  """Returns the lines of the logs of all phases, without times."""
  texts = [(part / "metrics.jsonl").read_text() for part in parts(run)]
  return [
    {key: value for key, value in json.loads(line).items() if key not in TIMES}
    for text in texts
    for line in text.splitlines()
  ]


def parts(run: Path) -> list[Path]:
  """Returns the folders of the phases of a run, the last of them its own."""
  return [*sorted(run.glob("phases/*")), run]


def equal(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
  """Returns whether arrays by name are bitwise equal."""
  return left.keys() == right.keys() and all(
    left[name].tobytes() == right[name].tobytes() for name in left
  )


def difference(expected, actual) -> str:
  """Returns the first difference of two outcomes, empty if they are equal."""
  if expected[0].keys() != actual[0].keys():
    return "other leaves"
  for path, leaf in expected[0].items():
    if leaf.tobytes() != actual[0][path].tobytes():
      return f"leaf {path}"
  for left, right in zip(expected[1], actual[1], strict=False):
    if left != right:
      return f"line {left} became {right}"
  return "" if len(expected[1]) == len(actual[1]) else "other lines"

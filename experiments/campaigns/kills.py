"""Kills runs with SIGKILL at random moments, and compares what comes after.

  kills.py --runs=50 --workdir=runs/kills

Each run is the digits CNN with batch norm, dropout, augmentation and an
average of the weights, read from the device or as a stream in turn. It is
killed, continued by the same command until it ends, and compared with a run
that nobody disturbed: every leaf of the last checkpoint bit for bit, and
every line of metrics.jsonl but for its times. The last line is one JSON
object; it is written to WORKDIR/kills.json too.
"""

import collections
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

from dlcore import command, trees
from dlcore.errors import UserError
from dlcore.training import checkpoint, manifest

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("seconds", "examples_per_second")
"""The fields of metrics.jsonl that two equal runs need not share."""

MOMENTS = ("step", "feed", "evaluation", "checkpoint", "write", "anywhere")
"""What the run does when it is killed; `write` is the background's save."""

OVERRIDES = {
  "model.batch_norm": True,
  "model.dropout": 0.3,
  "data.augment.shift": 1,
  "data.augment.flip": True,
  "data.batch_size": 48,
  "training.ema": 0.99,
  "training.epochs": 0,
  "training.steps": 400,
  "training.log_every": 7,
  "training.eval_every": 40,
}
SAVES = (25, 0)
"""`training.checkpoint_every`, drawn for every run; 0 saves when it may."""


RUNS = flags.DEFINE_integer("runs", 50, "how many runs to kill")
WORKDIR = flags.DEFINE_string("workdir", "runs/kills", "where they run")
OUTPUT = flags.DEFINE_string(
  "output",
  "",
  "a file for the JSON object, such as experiments/results/kills.json",
)
KINDS = flags.DEFINE_list("moments", list(MOMENTS), "taken in turn")
SEED = flags.DEFINE_integer("seed", 0, "of the moments")


def main():
  """Runs the campaign and prints the counts."""
  folder = Path(WORKDIR.value)
  result = campaign(
    folder, RUNS.value, random.Random(SEED.value), moments=KINDS.value
  )
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))
  if result["different"]:
    raise UserError(
      "expected every killed run to end like the undisturbed one",
      f"{result['different']} of {result['runs']} did not",
    )


def campaign(
  folder: Path,
  runs: int,
  chance: random.Random,
  overrides: dict = OVERRIDES,
  moments: tuple[str, ...] = MOMENTS,
) -> dict:
  """Kills and continues `runs` runs; returns the counts.

  Args:
    folder: emptied, then filled with the runs.
    runs: how many.
    chance: draws the moments.
    overrides: keys of the config and their values.
    moments: taken in turn, some of `MOMENTS`.
  """
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  wanted, seconds = {}, {}
  for placement in ("device", "stream"):
    undisturbed = folder / placement
    seconds[placement] = Child(undisturbed, placement, overrides).finish()
    wanted[placement] = outcome(undisturbed)
  killed = collections.Counter()
  different = []
  for number in range(runs):
    placement = ("device", "stream")[number % 2]
    moment = moments[(number // 2 + number % 2) % len(moments)]
    run = folder / f"killed_{number}"
    kills = []
    # Writes are too few to meet one where the run saves when it may.
    saves = SAVES[0] if moment == "write" else chance.choice(SAVES)
    settings = {**overrides, "training.checkpoint_every": saves}
    while not kills or chance.random() < 0.4:
      child = Child(run, placement, settings)
      if child.kill(moment, chance.uniform(0.0, 0.8) * seconds[placement]):
        kills.append(moment)
        moment = chance.choice(moments)
      else:  # It was over before that moment came: too late to count.
        kills or shutil.rmtree(run)
    Child(run, placement, settings).finish()
    killed.update(kills)
    if differs := difference(wanted[placement], outcome(run)):
      different.append(f"{run.name}: {differs}")
    print(f"{run.name} {placement} {kills}: {differs or 'equal'}", flush=True)
    if not differs:
      shutil.rmtree(run)
  return {
    "date": time.strftime("%Y-%m-%d"),
    "commit": _commit(),
    "runs": runs,
    "kills": sum(killed.values()),
    "by_moment": dict(killed),
    "different": len(different),
    "differences": different[:5],
  }


class Child:
  """A training process that tells which phase it is in."""

  def __init__(self, run: Path, placement: str, overrides: dict):
    """Starts it in the folder `run`."""
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
      ],
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
      stderr=(run.parent / f"{run.name}.log").open("a"),
    )

  def finish(self) -> float:
    """Waits for the end; returns the seconds since the first step."""
    begun = self._first_step()
    if self._process.wait() != 0:
      raise RuntimeError(f"{self._run} failed; see its log")
    return time.monotonic() - begun

  def kill(self, moment: str, after: float) -> bool:
    """Sends SIGKILL at the first `moment` that comes `after` seconds of steps.

    Returns:
      Whether the process was still there.
    """
    deadline = self._first_step() + after
    while self._process.poll() is None:
      if time.monotonic() > deadline and self._at(moment):
        self._process.kill()
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


def _commit() -> str:
  """Returns the commit that is measured, empty outside of a checkout."""
  command_line = ["git", "rev-parse", "--short", "HEAD"]
  told = subprocess.run(
    command_line, cwd=ROOT, capture_output=True, text=True, check=False
  )
  return told.stdout.strip()


def outcome(run: Path) -> tuple[dict[str, np.ndarray], list[dict]]:
  """Returns the leaves of the last checkpoint, and the log without times."""
  step = checkpoint.newest(run / "checkpoints")
  assert step is not None
  leaves = trees.flatten(checkpoint.read(run / "checkpoints", step))
  lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
  plain = [
    {key: value for key, value in line.items() if key not in TIMES}
    for line in lines
  ]
  return leaves, plain


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


if __name__ == "__main__":
  command.run(main)

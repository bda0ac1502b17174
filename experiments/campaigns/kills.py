"""Kills runs with SIGKILL at random moments, and compares what comes after.

  kills.py --runs=160 --workdir=runs/kills

Each run is one of `ARMS`, of which every one has something else to lose, read
from the device or as a stream. It is killed, continued by the same command
until it ends, and compared with a run of its kind that nobody disturbed: every
leaf of the last checkpoint bit for bit, and every line of metrics.jsonl but
for its times. The last line is one JSON object; --output keeps it.
"""

import collections
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags

from dlcore import command, optim, trees
from dlcore.errors import UserError
from dlcore.training import checkpoint, manifest

ROOT = Path(__file__).resolve().parents[2]
TIMES = ("seconds", "examples_per_second")
"""The fields of metrics.jsonl that two equal runs need not share."""

MOMENTS = ("step", "feed", "evaluation", "checkpoint", "write", "anywhere")
"""What the run does when it is killed; `write` is the background's save."""

BASE = {
  "model.dropout": 0.3,
  "data.augment.shift": 1,
  "data.batch_size": 48,
  "training.epochs": 0,
  "training.steps": 250,
  "training.log_every": 7,
  "training.eval_every": 40,
}
MLP = {**BASE, "model.name": "mlp", "model.widths": (64, 64)}
CNN = {**BASE, "model.stages": ((8, 16),), "model.batch_norm": True}
ARMS: dict[str, dict] = {
  "cnn, batch norm": CNN,
  "average of weights": {**CNN, "training.ema": 0.99},
  "mixup, cutmix": {
    **CNN,
    "data.augment.mixup": 0.4,
    "data.augment.cutmix": 1.0,
  },
  "accumulation": {**CNN, "training.accumulate": 4},
  "mlp, steps together": {**MLP, "training.steps_per_call": 5},
  "frozen, looked at": {
    **CNN,
    "optim.freeze": "^conv_0/",
    "training.watch_every": 30,
  },
  "plateau, patience": {
    **CNN,
    "optim.schedule.name": "plateau",
    "optim.schedule.patience": 1,
    "training.patience": 5,
    "training.eval_every": 20,
  },
  "spikes passed over": {
    **MLP,
    "optim.learning_rate": 0.5,
    "training.spike": 1.5,
    "training.tolerate": 2,
    "training.recoveries": 1000,
    # A run that goes back goes to its last save: these have to be the same.
    "training.checkpoint_every": 25,
  },
  **{
    name: {**MLP, "optim.name": name, "training.ema": 0.9}
    for name in optim.OPTIMIZERS
  },
}
"""What the runs are: one arm for everything that a resume could lose, and one
for every optimizer."""

SAVES = (25, 0)
"""`training.checkpoint_every`, drawn where the arm does not say; 0 saves when
it may."""

RUNS = flags.DEFINE_integer("runs", 160, "how many runs to kill")
WORKDIR = flags.DEFINE_string("workdir", "runs/kills", "where they run")
OUTPUT = flags.DEFINE_string(
  "output",
  "",
  "a file for the JSON object, such as experiments/results/kills.json",
)
KINDS = flags.DEFINE_list("moments", list(MOMENTS), "taken in turn")
ONLY = flags.DEFINE_list("arms", [], "words of the arms to take, all if none")
SEED = flags.DEFINE_integer("seed", 0, "of the moments")


def main():
  """Runs the campaign and prints the counts."""
  arms = [
    arm
    for arm in ARMS
    if not ONLY.value or any(word in arm for word in ONLY.value)
  ]
  chance = random.Random(SEED.value)
  campaign = Campaign(Path(WORKDIR.value), chance, KINDS.value)
  for number in range(RUNS.value):
    campaign.disturb(arms[number % len(arms)])
  result = campaign.result()
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))
  if result["different"]:
    raise UserError(
      "expected every killed run to end like the undisturbed one",
      f"{result['different']} of {result['runs']} did not",
    )


class Campaign:
  """Kills runs one after the other, and counts."""

  def __init__(self, folder: Path, chance: random.Random, moments: list[str]):
    """Empties `folder`; takes `moments` in turn, `chance` draws the rest."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    self._folder, self._chance, self._moments = folder, chance, moments
    self._wanted: dict[tuple[str, str], tuple[float, tuple]] = {}
    self._runs: collections.Counter = collections.Counter()
    self._kills: collections.Counter = collections.Counter()
    self._by_arm: collections.Counter = collections.Counter()
    self._different: list[str] = []

  def disturb(self, arm: str) -> None:
    """Kills and continues one run, and compares it with its like."""
    number = self._runs.total()
    # Every arm gets both paths of the data, and all get every moment.
    placement = ("device", "stream")[self._runs[arm] % 2]
    moment = self._moments[number % len(self._moments)]
    seconds, wanted = self._undisturbed(arm, placement)
    run = self._folder / f"killed_{number}"
    # Writes are too few to meet one where the run saves when it may.
    saves = SAVES[0] if moment == "write" else self._chance.choice(SAVES)
    settings = {"training.checkpoint_every": saves, **ARMS[arm]}
    kills = []
    while not kills or self._chance.random() < 0.4:
      child = Child(run, placement, settings)
      if child.kill(moment, self._chance.uniform(0.0, 0.8) * seconds):
        kills.append(moment)
        moment = self._chance.choice(self._moments)
      else:  # It was over before that moment came: too late to count.
        kills or shutil.rmtree(run)
        moment = "anywhere"
    Child(run, placement, settings).finish()
    self._runs[arm] += 1
    self._kills.update(kills)
    self._by_arm[arm] += len(kills)
    if differs := difference(wanted, outcome(run)):
      self._different.append(f"{run.name}, {arm}: {differs}")
    else:
      shutil.rmtree(run)
    told = ", ".join(kills)
    print(f"{run.name} {arm} {placement} {told}: {differs or 'equal'}")
    sys.stdout.flush()

  def result(self) -> dict:
    """Returns the counts."""
    return {
      "date": time.strftime("%Y-%m-%d"),
      "commit": commit(),
      "runs": self._runs.total(),
      "kills": self._kills.total(),
      "by_moment": dict(self._kills),
      "by_arm": dict(self._by_arm),
      "different": len(self._different),
      "differences": self._different[:5],
    }

  def _undisturbed(self, arm: str, placement: str) -> tuple[float, tuple]:
    """Returns the seconds of the steps and the outcome of a run left alone."""
    if (arm, placement) not in self._wanted:
      run = self._folder / f"undisturbed_{len(self._wanted)}"
      seconds = Child(run, placement, ARMS[arm]).finish()
      self._wanted[arm, placement] = seconds, outcome(run)
    return self._wanted[arm, placement]


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

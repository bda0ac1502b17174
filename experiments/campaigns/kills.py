"""Kills runs with SIGKILL at random moments, and compares what comes after.

  kills.py --runs=160 --workdir=runs/kills

Each run is one of `ARMS`, of which every one has something else to lose, read
from the device or as a stream. It is killed, continued by the same command
until it ends, and compared with a run of its kind that nobody disturbed: every
leaf of the last checkpoint bit for bit, and every line of metrics.jsonl but
for its times. The last line is one JSON object; --output keeps it, and adds
campaigns of other seeds together.
"""

import collections
import json
import random
import shutil
import sys
import time
from pathlib import Path

from absl import flags
from children import MOMENTS, Child, commit, difference, outcome

from dlcore import command, optim
from dlcore.errors import UserError

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
  "a file for the JSON object, such as experiments/results/kills.json; what is "
  "in it is added to, so that campaigns of other seeds make one",
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
    path = Path(OUTPUT.value)
    if path.exists():
      result = added(json.loads(path.read_text()), result)
    path.write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))
  if result["different"]:
    raise UserError(
      "expected every killed run to end like the undisturbed one",
      f"{result['different']} of {result['runs']} did not",
    )


def added(first: dict, second: dict) -> dict:
  """Returns the counts of two campaigns together, as of the second's date."""
  total = dict(second)
  for name in ("runs", "kills", "different", "differences"):
    total[name] = first[name] + second[name]
  for name in ("by_moment", "by_arm"):
    total[name] = dict(
      collections.Counter(first[name]) + collections.Counter(second[name])
    )
  if first["commit"] not in second["commit"]:
    total["commit"] = f"{first['commit']} and {second['commit']}"
  return total


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


if __name__ == "__main__":
  command.run(main)

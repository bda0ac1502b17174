"""Kills runs with SIGKILL at random times and compares their results.

  kills.py --runs=205 --workdir=runs/kills
  kills.py --runs=72 --kinds=texts: --workdir=runs/kills    of texts alone
  kills.py --runs=60 --kinds=transfer: --workdir=runs/kills

Each run is one of `KINDS`, with its data on the device or as a stream. It is
killed, continued by the same command until it ends, and compared with an
undisturbed run of its kind: every leaf of the last checkpoint bitwise, and
every line of metrics.jsonl except its times, also of its phases. The last line
is one JSON object; --output writes it to a file and adds it to the campaign of
another seed there.
"""

import collections
import json
import random
import shutil
import sys
from pathlib import Path

from absl import flags
from children import PHASES, ROOT, Child, Kind, difference, outcome
from text_kinds import TEXTS
from transfer_kinds import TRANSFER

from dlcore import command, optim
from dlcore.errors import UserError
from dlcore.provenance import provenance

SHORT = {
  "training.epochs": 0,
  "training.steps": 250,
  "training.log_every": 7,
  "training.eval_every": 40,
}
"""Settings of all kinds."""

BASE = {
  "model.dropout": 0.3,
  "data.augment.shift": 1,
  "data.batch_size": 48,
}
MLP = {**BASE, "model.name": "mlp", "model.widths": (64, 64)}
CNN = {**BASE, "model.stages": ((8, 16),), "model.batch_norm": True}
FEATURES: dict[str, dict] = {
  "cnn, batch norm": CNN,
  "ema": {**CNN, "training.ema": 0.99},
  "schedule-free, batch norm": {**CNN, "optim.name": "schedule_free_adamw"},
  "mixup, cutmix": {
    **CNN,
    "data.augment.mixup": 0.4,
    "data.augment.cutmix": 1.0,
  },
  "accumulation": {**CNN, "training.accumulate": 4},
  "mlp, several steps per call": {**MLP, "training.steps_per_call": 5},
  "frozen, layer statistics": {
    **CNN,
    "optim.freeze": "^conv_0/",
    "training.layer_statistics_every": 30,
  },
  "plateau, patience": {
    **CNN,
    "optim.schedule.name": "plateau",
    "optim.schedule.patience": 1,
    "training.patience": 5,
    "training.eval_every": 20,
  },
  "spikes skipped": {
    **MLP,
    "optim.learning_rate": 0.5,
    "training.spike_factor": 1.5,
    "training.max_consecutive_skips": 2,
    "training.max_rollbacks": 1000,
    # A rollback returns to the last save, so saves must be at fixed steps.
    "training.checkpoint_every": 25,
  },
  **{
    name: {**MLP, "optim.name": name, "training.ema": 0.9}
    for name in optim.OPTIMIZERS
  },
}
"""Overrides of the config of digits: a kind for each feature whose state a
resume could lose, and one for each optimizer."""

KINDS = {
  name: kind.with_defaults(SHORT)
  for name, kind in {
    **{name: Kind(overrides) for name, overrides in FEATURES.items()},
    **TEXTS,
    **TRANSFER,
  }.items()
}
"""The kinds of runs."""

SAVES = (25, 0)
"""Values of `training.checkpoint_every`, chosen at random if the kind has
none; 0 saves at most every few seconds."""

RUNS = flags.DEFINE_integer("runs", 205, "number of runs to kill")
WORKDIR = flags.DEFINE_string("workdir", "runs/kills", "folder of the runs")
OUTPUT = flags.DEFINE_string(
  "output",
  "",
  "a file for the JSON object, such as experiments/results/kills.json; the "
  "counts of a file of another seed are added",
)
ONLY_PHASES = flags.DEFINE_list(
  "phases", list(PHASES), "the phases in which runs are killed, in turn"
)
ONLY_KINDS = flags.DEFINE_list(
  "kinds", [], "substrings of the names of kinds (default: all kinds)"
)
SEED = flags.DEFINE_integer("seed", 0, "seed of the times of the kills")


def main():
  """Runs the campaign and prints the counts."""
  kinds = [
    kind
    for kind in KINDS
    if not ONLY_KINDS.value or any(text in kind for text in ONLY_KINDS.value)
  ]
  generator = random.Random(SEED.value)
  campaign = Campaign(Path(WORKDIR.value), generator, ONLY_PHASES.value)
  for number in range(RUNS.value):
    turn, index = divmod(number, len(kinds))
    campaign.disturb(kinds[index], turn + index)
  result = campaign.result()
  if OUTPUT.value:
    path = Path(OUTPUT.value)
    if path.exists():
      result = add_counts(json.loads(path.read_text()), result)
    path.write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))
  if result["different"]:
    raise UserError(
      "expected every killed run to end like the undisturbed one",
      f"got {result['different']} of {result['runs']} that did not",
    )


def add_counts(first: dict, second: dict) -> dict:
  """Returns the sum of two campaigns, with the date of the second."""
  total = dict(second)
  for name in ("runs", "kills", "different", "differences"):
    total[name] = first[name] + second[name]
  for name in ("by_phase", "by_kind"):
    total[name] = dict(
      collections.Counter(first[name]) + collections.Counter(second[name])
    )
  if first["commit"] not in second["commit"]:
    total["commit"] = f"{first['commit']} and {second['commit']}"
  return total


class Campaign:
  """Kills runs one after the other, and counts the differences."""

  def __init__(self, folder: Path, generator: random.Random, phases: list[str]):
    """Empties `folder`.

    Args:
      folder: of the runs.
      generator: of the times of the kills.
      phases: those of the first kills, in turn.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    self._folder, self._generator, self._phases = folder, generator, phases
    self._expected: dict[tuple[str, str], tuple[float, tuple]] = {}
    self._runs: collections.Counter = collections.Counter()
    self._kills: collections.Counter = collections.Counter()
    self._by_kind: collections.Counter = collections.Counter()
    self._different: list[str] = []

  def disturb(self, kind: str, turn: int) -> None:
    """Kills and continues a run, and compares it with an undisturbed one.

    Args:
      kind: a key of `KINDS`.
      turn: number of the phase of the first kill, modulo that of phases.
    """
    number, before = self._runs.total(), self._runs[kind]
    # So every kind has each phase with both placements of the data.
    placement = ("device", "stream")[(before + before // len(self._phases)) % 2]
    phase = self._phases[turn % len(self._phases)]
    seconds, expected = self._undisturbed(kind, placement)
    run = self._folder / f"killed_{number}"
    # A run that saves every few seconds writes too rarely to be killed there.
    every = SAVES[0] if phase == "write" else self._generator.choice(SAVES)
    settings = KINDS[kind].with_defaults({"training.checkpoint_every": every})
    kills = []
    while not kills or self._generator.random() < 0.4:
      child = Child(run, placement, settings)
      if child.kill(phase, self._generator.uniform(0.0, 1.0) * seconds):
        kills.append(phase)
        phase = self._generator.choice(self._phases)
      else:  # The run ended before that phase: it does not count.
        if not kills:
          shutil.rmtree(run)
        phase = "anywhere"
    Child(run, placement, settings).finish()
    self._runs[kind] += 1
    self._kills.update(kills)
    self._by_kind[kind] += len(kills)
    if differs := difference(expected, outcome(run)):
      self._different.append(f"{run.name}, {kind}: {differs}")
    else:
      shutil.rmtree(run)
    phases = ", ".join(kills)
    print(f"{run.name} {kind} {placement} {phases}: {differs or 'equal'}")
    sys.stdout.flush()

  def result(self) -> dict:
    """Returns the counts."""
    return {
      **provenance(ROOT),
      "runs": self._runs.total(),
      "kills": self._kills.total(),
      "by_phase": dict(self._kills),
      "by_kind": dict(self._by_kind),
      "different": len(self._different),
      "differences": self._different[:5],
    }

  def _undisturbed(self, kind: str, placement: str) -> tuple[float, tuple]:
    """Returns the seconds of the steps and the outcome without kills."""
    if (kind, placement) not in self._expected:
      run = self._folder / f"undisturbed_{len(self._expected)}"
      seconds = Child(run, placement, KINDS[kind]).finish()
      self._expected[kind, placement] = seconds, outcome(run)
    return self._expected[kind, placement]


if __name__ == "__main__":
  command.run(main)

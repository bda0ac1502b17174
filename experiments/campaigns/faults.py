"""Damages runs in every way that happens, and looks at what comes after.

  faults.py --rounds=50 --workdir=runs/faults

A round damages the files of runs that were stopped half-way or are finished,
once in each way of `damage.KINDS`, and goes on with them; every fifth round
also disturbs running processes: signals, a clock that jumps, a disk that is
full or read-only (these two need the right to mount). Every outcome is one of

  exact    it ended like an undisturbed run: leaves, log, scores, predictions
  older    the same, from an older checkpoint, which the log names
  told     a warning named the file whose content is lost; the rest is exact
  refused  it stopped with three lines that say what is wrong
  silent   it ended otherwise and said nothing: a defect
  trace    a traceback: a defect

The last line is one JSON object; --output keeps it.
"""

import collections
import contextlib
import json
import logging
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import children
import damage
import numpy as np
from absl import flags

from dlcore import command, experiment, training
from dlcore.errors import UserError

SETTINGS = {
  "cnn": {
    "model": {"name": "cnn", "stages": ((8, 16),), "dropout": 0.3},
    "training": {"ema": 0.99},
  },
  "mlp": {"model": {"name": "mlp", "widths": (32,)}, "training": {}},
}
TRAINING = {
  "epochs": 0.0,
  "steps": 240,
  "eval_every": 40,
  "checkpoint_every": 40,
  "log_every": 10,
}
CHILD = {
  "model.name": "mlp",
  "training.epochs": 0,
  "training.steps": 1500,
  "training.eval_every": 100,
  "training.checkpoint_every": 100,
}
SIGNALS = {
  "SIGKILL": (signal.SIGKILL,),
  "SIGTERM": (signal.SIGTERM,),
  "SIGINT": (signal.SIGINT,),
  "SIGINT twice": (signal.SIGINT, signal.SIGINT),
}
BAD = ("silent", "trace")

ROUNDS = flags.DEFINE_integer("rounds", 50, "how often each way is taken")
WORKDIR = flags.DEFINE_string("workdir", "runs/faults", "where they run")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")
SEED = flags.DEFINE_integer("seed", 0, "of the faults")
PROCESSES = flags.DEFINE_integer("every", 5, "rounds from one with processes")


def main():
  """Runs the campaign and prints the table."""
  folder = Path(WORKDIR.value).absolute()
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  chance = random.Random(SEED.value)
  table: dict[str, collections.Counter] = collections.defaultdict(
    collections.Counter
  )
  bad = []

  def count(kind: str, outcome: str, where: str) -> None:
    table[kind][outcome] += 1
    print(f"{kind:14} {outcome:8} {where}", flush=True)
    if outcome in BAD:
      bad.append(f"{kind}: {outcome}, {where}")

  with captured() as lines:
    files = Files(folder, lines)
    for number in range(ROUNDS.value):
      for kind in damage.KINDS:
        count(kind, *files.disturb(kind, chance))
      if number % PROCESSES.value == 0:
        for kind, outcome in disturbed_processes(folder, chance):
          count(kind, outcome, "")
  result = {
    "date": time.strftime("%Y-%m-%d"),
    "commit": children.commit(),
    "faults": sum(counts.total() for counts in table.values()),
    "table": {kind: dict(counts) for kind, counts in table.items()},
    "bad": bad,
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))
  if bad:
    raise UserError(
      "expected every fault to be made good or to be told",
      f"{len(bad)} of {result['faults']} were not, such as {bad[0]}",
    )


class Files:
  """Damages the files of runs at rest."""

  def __init__(self, folder: Path, lines: list[str]):
    """Makes the runs to damage, half-way and finished, and knows their ends."""
    self._folder, self._lines = folder, lines
    self._configs, self._ends = {}, {}
    for name, settings in SETTINGS.items():
      config = experiment.complete(
        {
          **settings,
          "training": {**TRAINING, **settings["training"]},
          "data": {"name": "digits", "augment": {"shift": 1}},
        }
      )
      self._configs[name] = config
      finished, half = folder / f"{name}_finished", folder / f"{name}_half"
      experiment.train(config, finished, progress=False)
      self._ends[name] = ending(finished, children.log(finished))
      stop_half_way(config, half)

  def disturb(self, kind: str, chance: random.Random) -> tuple[str, str]:
    """Damages a copy and goes on; returns the outcome and what was damaged."""
    name = chance.choice(list(SETTINGS))
    state = chance.choice(("half", "half", "finished"))
    run = self._folder / "damaged"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(self._folder / f"{name}_{state}", run)
    path = damage.target(run, chance)
    damage.KINDS[kind](path, run, chance)
    where = f"{state} {name}, {path.relative_to(run)}"
    self._lines.clear()
    try:
      if chance.random() < 0.25 and state == "finished":
        return self._evaluated(run, name), where
      summary = experiment.train(self._configs[name], run, progress=False)
      return self._trained(run, name, summary), where
    except UserError as error:
      return ("refused" if len(error.lines) <= 3 else "trace"), where
    except Exception as error:
      return "trace", f"{where}: {error!r}"[:300]

  def _said(self, words: str) -> bool:
    return any(words in line for line in self._lines)

  def _evaluated(self, run: Path, name: str) -> str:
    """Evaluates: right are the numbers of the step that is named."""
    values = experiment.evaluate(run)
    older = self._said("passed over")
    finished = self._folder / f"{name}_finished"
    if experiment.evaluate(finished, step=values["step"]) != values:
      return "silent"
    if values["loss"] == self._ends[name].metrics["test/loss"]:
      return "exact"
    return "older" if older else "silent"

  def _trained(self, run: Path, name: str, summary: dict) -> str:
    """Compares all numbers with those of the undisturbed run."""
    lost = self._said("metrics.jsonl is not as")
    older = self._said("passed over")
    wanted, now = self._ends[name], ending(run)
    same = children.equal(wanted.leaves, now.leaves)
    same &= children.equal(wanted.predictions, now.predictions)
    same &= wanted.metrics == now.metrics == summary["metrics"]
    if lost:
      return "told" if same else "silent"
    if not same or children.log(run) != wanted.log:
      return "silent"
    return "older" if older else "exact"


class Ending(NamedTuple):
  """All numbers with which a run ended."""

  leaves: dict[str, np.ndarray]
  metrics: dict[str, float]
  predictions: dict[str, np.ndarray]
  log: list[dict]
  """Not read again: it may be what was damaged."""


def ending(run: Path, log: Sequence[dict] = ()) -> Ending:
  """Returns the numbers of a finished run; its log is given."""
  summary = json.loads((run / "summary.json").read_text())
  with np.load(run / "assets" / "predictions.npz") as file:
    predictions = dict(file)
  return Ending(
    children.leaves(run), summary["metrics"], predictions, list(log)
  )


def stop_half_way(config: dict, run: Path) -> None:
  """Trains until a SIGTERM comes, after some steps."""

  def stop() -> None:
    log = run / "metrics.jsonl"
    while not log.exists() or '"step": 130' not in log.read_text():
      time.sleep(0.001)
    signal.raise_signal(signal.SIGTERM)

  threading.Thread(target=stop, daemon=True).start()
  with contextlib.suppress(training.Stopped):
    experiment.train(config, run, progress=False)
    raise RuntimeError(f"{run} was too fast to be stopped")


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
  """Collects what dlcore says."""
  lines: list[str] = []

  class Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
      lines.append(record.getMessage())

  logger, handler = logging.getLogger("dlcore"), Handler()
  before, logger.handlers = logger.handlers, [handler]
  try:
    yield lines
  finally:
    logger.handlers = before


def disturbed_processes(
  folder: Path, chance: random.Random
) -> Iterator[tuple[str, str]]:
  """Yields the outcome of every way to disturb a process that runs."""
  wanted = folder / "child"
  if not wanted.exists():
    children.Child(wanted, "device", CHILD).finish()
  for kind, numbers in SIGNALS.items():
    run = fresh(folder)
    moment = chance.choice(children.MOMENTS[:4])
    children.Child(run, "device", CHILD).kill(moment, 0.1, *numbers)
    yield kind, gone_on(run, wanted)
  run = fresh(folder)
  clock = f"--clock={chance.randrange(10**6)}"
  children.Child(run, "device", CHILD, clock).kill("step", 0.1, signal.SIGTERM)
  children.Child(run, "device", CHILD, clock).wait()
  yield "clock jumps", gone_on(run, wanted)
  disk = folder / "disk"
  if mount(disk):
    try:
      yield "disk full", on_full_disk(disk, wanted, chance)
      yield "disk read-only", on_read_only_disk(disk, wanted)
    finally:
      subprocess.run(["umount", str(disk)], check=True)


def fresh(folder: Path) -> Path:
  """Returns a folder that is not there."""
  run = folder / "disturbed"
  shutil.rmtree(run, ignore_errors=True)
  run.with_name("disturbed.log").unlink(missing_ok=True)
  return run


def gone_on(run: Path, wanted: Path) -> str:
  """Goes on with a run, whose log so far may hold no traceback."""
  children.Child(run, "device", CHILD).wait()
  said = (run.parent / f"{run.name}.log").read_text()
  if "Traceback" in said:
    return "trace"
  if not (run / "summary.json").exists():
    return "silent"
  same = children.difference(children.outcome(wanted), children.outcome(run))
  return "silent" if same else "exact"


def mount(disk: Path) -> bool:
  """Mounts a disk of 8 MB in memory, where that is permitted."""
  disk.mkdir(exist_ok=True)
  line = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
  try:
    return (
      subprocess.run(line, capture_output=True, check=False).returncode == 0
    )
  except FileNotFoundError:
    return False


def on_full_disk(disk: Path, wanted: Path, chance: random.Random) -> str:
  """Trains with less and less room, then with enough."""
  run, filler = disk / "run", disk / "filler"
  room = chance.randrange(0, 1_500_000)
  with contextlib.suppress(OSError):
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - room))
  code = children.Child(run, "device", CHILD).wait()
  filler.unlink()
  told = (disk / "run.log").read_text()
  if code == 0 or "Traceback" in told:
    return "trace" if "Traceback" in told else "silent"
  return gone_on(run, wanted)


def on_read_only_disk(disk: Path, wanted: Path) -> str:
  """Goes on where nothing can be written, then where it can."""
  run = disk / "read_only"
  children.Child(run, "device", CHILD).kill("step", 0.1, signal.SIGTERM)
  subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
  refused = False
  config = json.loads((run / "config.json").read_text())
  try:
    experiment.train(config, run, progress=False)
  except UserError as error:
    refused = len(error.lines) <= 3
  finally:
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
  return gone_on(run, wanted) if refused else "silent"


if __name__ == "__main__":
  command.run(main)

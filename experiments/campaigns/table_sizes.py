"""Trains configs/table.py on tables of 1,000 to 1,000,000 rows.

  table_sizes.py [--rows=1000,1000000]

The target is a known function of 12 columns (numbers with gaps, a date and
categories) plus noise, so that no model has an expected R2 above `CEILING`.
Each run is the command that a user would type.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from dlcore import command
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
CEILING = 0.9
NUMBERS = 8
GAPS = 0.05
"""Share of the numbers that are missing."""

LEVELS = {"region": 5, "shop": 100, "product": 5000}
"""Categories of each column."""

ROWS = flags.DEFINE_list(
  "rows", ["1000", "10000", "100000", "1000000"], "rows of the tables"
)
WORKDIR = flags.DEFINE_string(
  "workdir", "runs/table_sizes", "folder of the tables and of the runs"
)
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/table_sizes.json", "the file of the results"
)


def main():
  """Trains on every table and writes --output."""
  results = {rows: measure(int(rows)) for rows in ROWS.value}
  content = {**provenance(ROOT), "ceiling": CEILING, "tables": results}
  Path(OUTPUT.value).write_text(json.dumps(content, indent=1) + "\n")


def measure(rows: int) -> dict[str, Any]:
  """Returns score, parameters, seconds and peak memory of a run."""
  folder = Path(WORKDIR.value).absolute() / str(rows)
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  write_table(folder / "table.csv", rows)
  start = time.monotonic()
  process = subprocess.Popen(
    [
      *(sys.executable, "experiments/train.py", "--config=configs/table.py"),
      f"--config.data.path={folder / 'table.csv'}",
      "--config.data.target=y",
      f"--config.data.cache_dir={folder / 'cache'}",
      f"--workdir={folder / 'run'}",
    ],
    cwd=ROOT,
    stdout=subprocess.DEVNULL,
  )
  _, status, usage = os.wait4(process.pid, 0)
  if status:
    raise RuntimeError(f"the run of {rows} rows ended with the status {status}")
  summary = json.loads((folder / "run" / "summary.json").read_text())
  result = {
    "r2": summary["metrics"]["test/r2"],
    "parameters": summary["parameters"],
    "steps": summary["step"],
    "seconds": time.monotonic() - start,
    "peak_bytes": 1024 * usage.ru_maxrss,
  }
  print(rows, result, flush=True)
  return result


def write_table(path: Path, rows: int) -> None:
  """Writes a table of `rows` rows as CSV."""
  generator = np.random.default_rng(0)
  numbers = generator.normal(size=(rows, NUMBERS))
  days = generator.integers(0, 1461, rows)
  codes = {
    name: generator.integers(0, count, rows) for name, count in LEVELS.items()
  }
  effects = {
    name: generator.normal(size=count) for name, count in LEVELS.items()
  }
  signal = (
    np.sin(2 * numbers[:, 0])
    + numbers[:, 1] * numbers[:, 2]
    + np.abs(numbers[:, 3])
    + 0.5 * numbers[:, 4]
    + np.cos(2 * np.pi * days / 365.25)
    + sum(effects[name][codes[name]] for name in LEVELS)
  )
  scale = np.sqrt(signal.var() * (1 - CEILING) / CEILING)
  target = signal + scale * generator.normal(size=rows)
  cells = np.char.mod("%.5g", numbers)
  # No gap is in a column of the signal: the ceiling would not be known.
  gaps = generator.random((rows, NUMBERS)) < GAPS
  gaps[:, :5] = False
  cells[gaps] = ""
  dates = np.datetime64("2020-01-01") + days
  columns = [
    *cells.T,
    dates.astype(str),
    *(np.char.mod(f"{name}-%d", codes[name]) for name in LEVELS),
    np.char.mod("%.6g", target),
  ]
  names = [*(f"x{i}" for i in range(NUMBERS)), "day", *LEVELS, "y"]
  with path.open("w") as file:
    file.write(",".join(names) + "\n")
    for row in zip(*columns, strict=True):
      file.write(",".join(row) + "\n")


if __name__ == "__main__":
  command.run(main)

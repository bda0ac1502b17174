"""A messy file or folder, the command that trains on it, and its losses."""

import json
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[3]
STEPS = 4

LEFT_OUT = re.compile(
  r"^([\d,]+) .*(?:skipped|ignored|left out|not used)", re.MULTILINE
)
"""Notes that count the rows or files that are not used."""


class Case(NamedTuple):
  """A file or folder, and a command line of train.py."""

  make: Callable[[Path, random.Random], int]
  """Writes the files into a folder; returns the number of rows or files."""

  overrides: Mapping[str, str] = {"data.path": "t.csv", "data.target": "y"}
  """Values of the config; file names are those in the folder."""

  config: str = "table"

  columns: Mapping[str, str] = {}
  """The type as which a column must be read: a kind of a plan or "left out"."""

  outcome: str = ""
  """"trained" or "refused" if there is a single right answer."""


PATHS = ("data.path", "data.train", "data.valid", "data.test", "data.labels")


def command(case: Case, folder: Path, run: Path) -> list[str]:
  """Returns the arguments of train.py."""
  overrides = {
    key: str(folder / value) if key in PATHS else value
    for key, value in case.overrides.items()
  }
  return [
    f"--config={ROOT / 'configs' / case.config}.py",
    f"--workdir={run}",
    f"--config.training.steps={STEPS}",
    *(f"--config.{key}={value}" for key, value in overrides.items()),
  ]


def loss(run: Path, examples: int, columns: Mapping[str, str]) -> str:
  """Returns the silent loss of a run that was trained, `""` without one.

  Args:
    run: the folder of the run.
    examples: rows or files of the data, which are examples or counted in a
      note.
    columns: see `Case`.
  """
  data = json.loads((run / "assets" / "data.json").read_text())
  notes = "\n".join(data["notes"])
  used = sum(split["size"] for split in data["splits"].values())
  counted = [int(n.replace(",", "")) for n in LEFT_OUT.findall(notes)]
  if used + sum(counted) < examples:
    return f"{used} examples and {counted} in notes of {examples}"
  plan = data["schema"].get("plan", [])
  kinds = {column["name"]: column["kind"] for column in plan}
  for name, kind in columns.items():
    found = kinds.get(name, "left out")
    if found != kind:
      return f"column {name!r} is read as {found} in place of {kind}"
    if found == "left out" and f"{name!r}" not in notes:
      return f"column {name!r} is left out without a note"
  return ""


def unnamed_columns(run: Path, columns: list[str], target: str) -> list[str]:
  """Returns the columns that are neither inputs nor named in a note."""
  data: Any = json.loads((run / "assets" / "data.json").read_text())
  notes = "\n".join(data["notes"])
  known = {column["name"] for column in data["schema"].get("plan", [])}
  if re.search(r"and \d+ more", notes):
    return []
  return [
    name
    for name in columns
    if name not in known and name != target and repr(name) not in notes
  ]

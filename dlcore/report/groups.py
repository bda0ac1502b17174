"""Reads the runs that are compared: folders of runs, and of runs over seeds."""

import dataclasses
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcore.errors import UserError
from dlcore.report import run
from dlcore.report.run import Run, mapping, numbers

MOST = 16
"""Groups on one page: eight colours, whole and dashed."""

MOST_RUNS = 128
MOST_LEAVES = 4000
LONGEST = 300
"""Characters of a setting, and of its path."""

SEED = re.compile(r"seed_\d{1,10}")
"""The name of the folder of a run in the folder of a group."""


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that differ in nothing but the seed, or a single run."""

  name: str
  runs: tuple[Run, ...]

  @property
  def finished(self) -> tuple[Run, ...]:
    """The runs whose results count."""
    return tuple(run for run in self.runs if is_finished(run))


@dataclasses.dataclass(frozen=True)
class Comparison:
  """What the page of a comparison is made of."""

  groups: tuple[Group, ...]
  warnings: tuple[str, ...]
  """What to know before the figures are read."""

  remarks: tuple[str, ...]
  """What was left out, and why."""


def is_group(folder: str | Path) -> bool:
  """Says whether `folder` is no run but holds runs over seeds."""
  folder = Path(folder)
  return not _is_run(folder) and any(_seed_folders(folder))


def read(folders: Sequence[str | Path]) -> Comparison:
  """Reads a group from each of `folders`.

  Raises:
    UserError: a folder holds no run, is named twice or of another task.
  """
  paths = [Path(folder).resolve() for folder in folders]
  if len(paths) > MOST:
    raise UserError(
      f"expected at most {MOST} folders to compare", f"got {len(paths)}"
    )
  inside = [_runs(path) for path in paths]
  _check_distinct([path for runs in inside for path in runs])
  names = _names(paths)
  remarks: list[str] = []
  groups = []
  for name, path, runs in zip(names, paths, inside, strict=True):
    remarks += [
      f"{name}/{link.name} is left out: it is a link"
      for link in _seed_folders(path, links=True)
      if runs != [path]
    ]
    groups.append(_group(name, runs, path, remarks))
  _check_tasks(groups)
  return Comparison(tuple(groups), tuple(_warnings(groups)), tuple(remarks))


def is_finished(found: Run) -> bool:
  """Says whether a run has made its last step and has results."""
  whole = found.summary.get("finished") is True
  return whole and bool(numbers(found.summary.get("metrics")))


def seed(found: Run) -> int | None:
  """Returns the seed of a run, None where its config does not tell."""
  value = found.config.get("seed")
  known = isinstance(value, int) and not isinstance(value, bool)
  return value if known else None


def part_name(found: Run, part: str) -> str:
  """Returns the name that the config gives to a part of the run, or ''."""
  return str(mapping(found.config.get(part)).get("name") or "")


def tested_on(group: Group) -> set[str]:
  """Returns the sums of the examples on which a group was tested."""
  splits = [mapping(found.data.get("splits")) for found in group.finished]
  sums = [mapping(split.get("test")).get("sha256") for split in splits]
  return {found for found in sums if isinstance(found, str)}


def leaves(tree: Mapping[str, Any]) -> dict[str, str]:
  """Returns the settings of a tree as text, by dotted path.

  However deep and wide a stranger's tree is, this remains small.
  """
  found: dict[str, str] = {}
  stack: list[tuple[str, Any]] = [("", tree)]
  while stack and len(found) < MOST_LEAVES:
    path, value = stack.pop()
    if isinstance(value, Mapping) and (value or not path):
      entries = [
        (f"{path}.{key}"[:LONGEST], entry)
        for key, entry in itertools.islice(value.items(), MOST_LEAVES)
      ]
      stack += reversed(entries)
    else:
      found[path[1:]] = _text(value)
  return found


def _text(value: Any) -> str:
  if isinstance(value, str):
    return value[:LONGEST]
  try:
    return json.dumps(value)[:LONGEST]
  except RecursionError:
    return "nested too deeply"


def _is_run(folder: Path) -> bool:
  return os.path.lexists(folder / "config.json")


def _seed_folders(folder: Path, links: bool = False) -> list[Path]:
  """Returns the folders of seeds in the order of their numbers."""
  try:
    found = [path for path in folder.iterdir() if SEED.fullmatch(path.name)]
    found = [path for path in found if path.is_dir()]
  except OSError:
    return []
  found = [path for path in found if path.is_symlink() == links]
  return sorted(found, key=lambda path: (int(path.name[5:]), path.name))


def _runs(folder: Path) -> list[Path]:
  """Returns the folder itself where it is a run, else those of its seeds."""
  runs = [folder] if _is_run(folder) else _seed_folders(folder)
  if not runs:
    raise UserError(
      "expected the folder of a run, with its config.json, or of runs over "
      f"seeds, with seed_0, at {folder}",
      "got a folder without" if folder.is_dir() else "got: no such folder",
      "name folders that experiments/train.py has written",
    )
  return runs


def _check_distinct(runs: Sequence[Path]) -> None:
  seen = set()
  for path in runs:
    if path in seen:
      raise UserError(
        "expected every run once", f"got twice: {path}", "name it once"
      )
    seen.add(path)
  if len(runs) > MOST_RUNS:
    raise UserError(
      f"expected at most {MOST_RUNS} runs to compare", f"got {len(runs)}"
    )


def _names(paths: Sequence[Path]) -> list[str]:
  """Returns as much of the ends of the paths as tells them apart."""
  longest = max(len(path.parts) for path in paths)
  names: list[str] = []
  for count in range(1, longest + 1):
    names = ["/".join(path.parts[-count:]) for path in paths]
    if len(set(names)) == len(names):
      break
  return names


def _group(
  name: str, paths: Sequence[Path], folder: Path, remarks: list[str]
) -> Group:
  """Reads the runs of a group and leaves out what cannot be one of it."""
  runs: list[Run] = []
  before = len(remarks)
  for path in paths:
    label = name if path == folder else f"{name}/{path.name}"
    found = run.read(path, arrays=False)
    remarks += [f"{label}: {remark}" for remark in found.remarks]
    if reason := _unfit(found, runs):
      remarks.append(f"{label} is left out: {reason}")
    else:
      runs.append(dataclasses.replace(found, name=label))
  if not runs:
    raise UserError(
      f"expected a run that can be read in {folder}",
      f"got: {remarks[before]}",
      "put good copies of its files back, or leave it out",
    )
  return Group(name, tuple(runs))


def _unfit(found: Run, others: Sequence[Run]) -> str:
  if not (found.config or found.summary or found.curves):
    return "nothing in it can be read"
  for other in others:
    if seed(found) is not None and seed(found) == seed(other):
      return f"it has the seed {seed(found)}, as {other.name} has"
    if _differ(found, other, "task"):
      return (
        f"its task is {_task(found)}, that of {other.name} is {_task(other)}"
      )
  return ""


def _task(found: Run) -> str:
  return part_name(found, "task")[:100]


def _differ(first: Run, second: Run, part: str) -> bool:
  """Says whether two runs name different parts, as far as they name them."""
  one, other = part_name(first, part), part_name(second, part)
  return bool(one and other and one != other)


def _check_tasks(groups: Sequence[Group]) -> None:
  first = groups[0]
  for group in groups[1:]:
    if _differ(first.runs[0], group.runs[0], "task"):
      raise UserError(
        f"expected runs of one task: {first.name} is {_task(first.runs[0])}",
        f"got {group.name}, which is {_task(group.runs[0])}",
        "compare runs whose metrics are the same",
      )


def _warnings(groups: Sequence[Group]) -> Iterator[str]:
  open_runs = [r for g in groups for r in g.runs if not is_finished(r)]
  if open_runs:
    yield (
      f"Not finished, and left out of the figures: {_listed(open_runs)}. "
      "The same command continues a run."
    )
  for group in groups:
    if differing := _differing(group):
      yield (
        f"The runs of {group.name} differ in more than the seed: "
        f"{', '.join(differing[:3])}{' and more' * (len(differing) > 3)}."
      )
  if len(set().union(*map(tested_on, groups))) > 1:
    yield (
      "The runs were not all tested on the same examples: their test figures "
      "do not compare."
    )


def _listed(runs: Sequence[Run], most: int = 8) -> str:
  names = ", ".join(found.name for found in runs[:most])
  rest = len(runs) - most
  return f"{names} and {rest} more" if rest > 0 else names


def _differing(group: Group) -> list[str]:
  """Returns the paths, but the seed, that are not alike in a group."""
  trees = [leaves(found.config) for found in group.runs if found.config]
  paths = dict.fromkeys(path for tree in trees for path in tree)
  return [
    path
    for path in paths
    if path != "seed" and len({tree.get(path) for tree in trees}) > 1
  ]

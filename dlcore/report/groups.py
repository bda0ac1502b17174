"""Reads the runs of a comparison: single runs, groups over seeds or folds."""

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcore.errors import UserError
from dlcore.report import config_tree, run
from dlcore.report.json_values import as_mapping, as_numbers
from dlcore.report.plots import COLORS
from dlcore.report.run import Run

MAX_GROUPS = 2 * COLORS
"""Groups on one page: solid and dashed lines of each color."""

MAX_RUNS = 128

VARIED = ("seed", "data.fold")
"""Settings in which the runs of a group may differ."""

MEMBER = re.compile(r"(seed|fold)_(\d{1,10})")
"""Name of the folder of a run within the folder of a group."""


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that differ only in the seed or in the fold, or a single run."""

  name: str
  runs: tuple[Run, ...]

  @property
  def finished(self) -> tuple[Run, ...]:
    """The runs that have results."""
    return tuple(member for member in self.runs if is_finished(member))

  @property
  def unit(self) -> str:
    """The noun for one of the runs, `"fold"` or `"seed"`."""
    return "seed" if None in map(fold, self.runs) else "fold"


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The content of the page of a comparison."""

  groups: tuple[Group, ...]
  warnings: tuple[str, ...]
  """Reasons why the figures may not be comparable."""

  remarks: tuple[str, ...]
  """Omitted files and runs, with the reasons."""

  @property
  def unit(self) -> str:
    """The noun for one of the runs, `"run"` if the groups differ in it."""
    units = {group.unit for group in self.groups}
    return units.pop() if len(units) == 1 else "run"


def is_group(folder: str | Path) -> bool:
  """Returns whether `folder` is not a run but contains several."""
  folder = Path(folder)
  return not _is_run(folder) and any(_member_folders(folder))


def read(folders: Sequence[str | Path]) -> Comparison:
  """Reads a group from each of `folders`.

  Raises:
    UserError: a folder contains no run, is repeated or belongs to another
      task.
  """
  paths = [
    Path(os.path.realpath(folder) if os.path.exists(folder) else folder)
    for folder in folders
  ]
  if len(paths) > MAX_GROUPS:
    raise UserError(
      f"expected at most {MAX_GROUPS} folders to compare", f"got {len(paths)}"
    )
  members = [_run_folders(path) for path in paths]
  _check_distinct([path for runs in members for path in runs])
  names = _short_names(paths)
  remarks: list[str] = []
  groups = []
  for name, path, runs in zip(names, paths, members, strict=True):
    remarks += [
      f"{name}/{link.name} is omitted: it is a link"
      for link in _member_folders(path, links=True)
      if runs != [path]
    ]
    groups.append(_read_group(name, runs, path, remarks))
  _check_tasks(groups)
  return Comparison(tuple(groups), tuple(_warnings(groups)), tuple(remarks))


def is_finished(member: Run) -> bool:
  """Returns whether a run has completed its last step and has results."""
  completed = member.summary.get("finished") is True
  return completed and bool(as_numbers(member.summary.get("metrics")))


def seed(member: Run) -> int | None:
  """Returns the seed of a run, None if its config lacks it."""
  value = member.config.get("seed")
  is_seed = isinstance(value, int) and not isinstance(value, bool)
  return value if is_seed else None


def fold(member: Run) -> int | None:
  """Returns the fold of a cross-validation, None for other runs."""
  section = as_mapping(member.config.get("data"))
  values = section.get("folds"), section.get("fold")
  if any(not isinstance(v, int) or isinstance(v, bool) for v in values):
    return None
  return values[1] if values[0] else None


def number(member: Run) -> int | None:
  """Returns the fold of a run, or else its seed, if the config has it."""
  return seed(member) if fold(member) is None else fold(member)


def component(member: Run, section: str) -> str:
  """Returns the `name` in a section of the config, such as the task, or ''."""
  return component_of(member.config, section)


def component_of(config: Mapping[str, Any], section: str) -> str:
  """Returns the `name` in a section of a config or of a part of it, or ''."""
  return str(as_mapping(config.get(section)).get("name") or "")


def test_checksums(group: Group) -> set[str]:
  """Returns the checksums of the test examples of the finished runs."""
  splits = [as_mapping(member.data.get("splits")) for member in group.finished]
  checksums = [as_mapping(split.get("test")).get("sha256") for split in splits]
  return {checksum for checksum in checksums if isinstance(checksum, str)}


def _is_run(folder: Path) -> bool:
  return os.path.lexists(folder / "config.json")


def same_tests(groups: Sequence[Group]) -> bool:
  """Returns whether all groups have the same test examples, by checksum.

  The folds of one group have different ones, but those of two groups may agree.
  """
  checksums = [frozenset(test_checksums(group)) for group in groups]
  several = any(
    len(known) > 1 and group.unit != "fold"
    for known, group in zip(checksums, groups, strict=True)
  )
  return not several and len(set(filter(None, checksums))) <= 1


def _member_folders(folder: Path, links: bool = False) -> list[Path]:
  """Returns the folders of runs by number, either plain folders or links."""
  try:
    paths = [path for path in folder.iterdir() if MEMBER.fullmatch(path.name)]
    paths = [path for path in paths if path.is_dir()]
  except (OSError, ValueError):  # ValueError for a null byte in the path.
    return []
  paths = [path for path in paths if path.is_symlink() == links]
  return sorted(paths, key=lambda path: (int(path.name[5:]), path.name))


def _run_folders(folder: Path) -> list[Path]:
  """Returns the folder itself if it is a run, else those of its runs."""
  runs = [folder] if _is_run(folder) else _member_folders(folder)
  if not runs:
    raise UserError(
      f"expected a run folder (config.json) or a group (seed_0) at {folder}",
      "got neither" if os.path.isdir(folder) else "got: no such folder",
      "pass folders that experiments/train.py has written",
    )
  return runs


def _check_distinct(runs: Sequence[Path]) -> None:
  distinct = set()
  for path in runs:
    if path in distinct:
      raise UserError(
        "expected every run once", f"got twice: {path}", "pass it once"
      )
    distinct.add(path)
  if len(runs) > MAX_RUNS:
    raise UserError(
      f"expected at most {MAX_RUNS} runs to compare", f"got {len(runs)}"
    )


def _short_names(paths: Sequence[Path]) -> list[str]:
  """Returns the shortest ends of the paths that are distinct."""
  longest = max(len(path.parts) for path in paths)
  names: list[str] = []
  for count in range(1, longest + 1):
    names = ["/".join(path.parts[-count:]) for path in paths]
    if len(set(names)) == len(names):
      break
  return names


def _read_group(
  name: str, paths: Sequence[Path], folder: Path, remarks: list[str]
) -> Group:
  """Reads the runs of a group and adds remarks on omitted ones."""
  runs: list[Run] = []
  before = len(remarks)
  for path in paths:
    label = name if path == folder else f"{name}/{path.name}"
    member = run.read(path, with_arrays=False)
    remarks += [f"{label}: {remark}" for remark in member.remarks]
    if reason := _mismatch(member, runs):
      remarks.append(f"{label} is omitted: {reason}")
    else:
      runs.append(dataclasses.replace(member, name=label))
  if not runs:
    raise UserError(
      f"expected a readable run in {folder}",
      f"got: {remarks[before]}",
      "restore its files, or omit the folder",
    )
  return Group(name, tuple(runs))


def _mismatch(member: Run, others: Sequence[Run]) -> str:
  """Returns why a run does not belong to a group, or ''."""
  if not (member.config or member.summary or member.curves):
    return "its files are not readable"
  for other in others:
    same = fold(member) == fold(other) and seed(member) == seed(other)
    if same and number(member) is not None:
      unit = "seed" if fold(member) is None else "fold"
      return f"it has {unit} {number(member)}, like {other.name}"
    if _tasks_differ(member, other):
      return (
        f"its task is {_task(member)}, that of {other.name} is {_task(other)}"
      )
  return ""


def _task(member: Run) -> str:
  return component(member, "task")[:100]


def _tasks_differ(first: Run, second: Run) -> bool:
  """Returns whether two runs have different tasks, if both are known."""
  tasks = component(first, "task"), component(second, "task")
  return all(tasks) and tasks[0] != tasks[1]


def _check_tasks(groups: Sequence[Group]) -> None:
  first = groups[0]
  for group in groups[1:]:
    if _tasks_differ(first.runs[0], group.runs[0]):
      raise UserError(
        f"expected runs of one task: {first.name} is {_task(first.runs[0])}",
        f"got {group.name}, which is {_task(group.runs[0])}",
        "compare runs with the same metrics",
      )


def _warnings(groups: Sequence[Group]) -> Iterator[str]:
  unfinished = [r for g in groups for r in g.runs if not is_finished(r)]
  if unfinished:
    yield (
      f"Not finished and therefore not in the figures: {_list(unfinished)}. "
      "The same command continues a run."
    )
  for group in groups:
    if differing := _differing(group):
      yield (
        f"The runs of {group.name} differ in more than the {group.unit}: "
        f"{', '.join(differing[:3])}{' and more' * (len(differing) > 3)}."
      )
  if not same_tests(groups):
    yield (
      "The runs were tested on different examples: their test metrics are not "
      "comparable."
    )


def _list(runs: Sequence[Run], limit: int = 8) -> str:
  names = ", ".join(member.name for member in runs[:limit])
  rest = len(runs) - limit
  return f"{names} and {rest} more" if rest > 0 else names


def _differing(group: Group) -> list[str]:
  """Returns the paths of settings that differ but for seed and fold."""
  trees = [
    config_tree.leaves(member.config) for member in group.runs if member.config
  ]
  paths = dict.fromkeys(path for tree in trees for path in tree)
  return [
    path
    for path in paths
    if path not in VARIED and len({tree.get(path) for tree in trees}) > 1
  ]

"""Measures the size of dlcore and the path to the first step of a run.

  size.py --before=REF

Prints the files whose functions run before the first step of
experiments/train.py, the files that contain the setting --setting of
`training.fit`, the lines of each package, and the longest files and functions.
With --before the lines of that commit are counted too. The last line is one
JSON object; --output writes it to a file.
"""

import ast
import collections
import inspect
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from dlcore import command, experiment, training
from dlcore.errors import UserError
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "dlcore"

BEFORE = flags.DEFINE_string("before", "", "a commit to compare with")
SETTING = flags.DEFINE_string("setting", "spike_factor", "an argument of fit")
COUNT = flags.DEFINE_integer("count", 8, "number of longest files, functions")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")


def main():
  """Prints the tables and the JSON object."""
  command.no_arguments()
  files = sorted(PACKAGE.rglob("*.py"))
  lines = {
    str(path.relative_to(ROOT)): len(path.read_text().splitlines())
    for path in files
  }
  functions = dict(item for path in files for item in function_lengths(path))
  started, in_fit = files_before_first_step()
  result = {
    **provenance(ROOT),
    "setting": SETTING.value,
    "files_before_first_step": started,
    "files_in_fit_before_first_step": in_fit,
    "files_with_setting": files_with(files, SETTING.value),
    "lines": sum(lines.values()),
    "lines_by_package": by_package(lines),
    "files": len(lines),
    "longest_files": longest(lines),
    "longest_functions": longest(functions),
  }
  if BEFORE.value:
    earlier = lines_at(BEFORE.value)
    result |= {
      "before": BEFORE.value,
      "lines_before": sum(earlier.values()),
      "lines_by_package_before": by_package(earlier),
    }
  print_tables(result)
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))


def files_before_first_step() -> tuple[list[str], list[str]]:
  """Returns the files whose functions are called before the first step ends.

  Imports do not count. The run is that of `experiments/train.py` without flags,
  in a temporary folder.

  Returns:
    The files of the whole run, and those of `training.fit`.
  """
  config, _ = experiment.read_config(
    str(ROOT / "configs" / "digits_cnn.py"), {}, near=ROOT / "configs"
  )
  calls: dict[str, None] = {}
  fit_calls: dict[str, None] = {}
  entered = threading.Event()

  def record(frame, event, argument) -> None:
    code = frame.f_code
    if event != "call" or not code.co_filename.startswith(str(PACKAGE)):
      return
    if not code.co_flags & inspect.CO_OPTIMIZED:  # A module or a class.
      return
    if code is training.fit.__code__:
      entered.set()
    name = str(Path(code.co_filename).relative_to(ROOT))
    calls[name] = None
    if entered.is_set():
      fit_calls[name] = None

  with tempfile.TemporaryDirectory() as folder:
    threading.setprofile(record)
    sys.setprofile(record)
    try:
      phases = FirstStep()
      experiment.train(config, folder, phases=phases, progress=False)
    except FirstStepEnded:
      pass
    finally:
      sys.setprofile(None)
      threading.setprofile(None)
  return sorted(calls), sorted(fit_calls)


class FirstStepEnded(Exception):
  """Ends a run after its first dispatch."""


class FirstStep(training.Phases):
  """Ends the run when the first step is counted."""

  def __setattr__(self, name: str, value) -> None:
    """Sets an attribute; `steps` is set after each dispatch."""
    super().__setattr__(name, value)
    if name == "steps" and value:
      sys.setprofile(None)
      raise FirstStepEnded


def files_with(files: list[Path], name: str) -> dict[str, int]:
  """Returns the number of lines with the word `name` by file."""
  word = re.compile(rf"\b{re.escape(name)}\b")
  counts = {
    str(path.relative_to(ROOT)): sum(
      bool(word.search(line)) for line in path.read_text().splitlines()
    )
    for path in files
  }
  return {path: count for path, count in counts.items() if count}


def function_lengths(path: Path) -> Iterator[tuple[str, int]]:
  """Yields the lines of every function without its docstring."""
  for node in ast.walk(ast.parse(path.read_text())):
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
      continue
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
      length -= (first.end_lineno or first.lineno) - first.lineno + 1
    yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", length


def lines_at(commit: str) -> dict[str, int]:
  """Returns the lines of every file of dlcore at a commit.

  Raises:
    UserError: there is no such commit.
  """
  result = subprocess.run(
    ["git", "grep", "-c", "", commit, "--", "dlcore/*.py"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  if result.returncode != 0:
    raise UserError(
      "expected --before=REF, a commit with dlcore/", f"got {commit!r}"
    )
  rows = (line.rsplit(":", 2) for line in result.stdout.splitlines())
  return {path: int(count) for _, path, count in rows}


def by_package(lines: dict[str, int]) -> dict[str, int]:
  """Returns the lines of every package and module below dlcore/."""
  totals: collections.Counter[str] = collections.Counter()
  for path, count in lines.items():
    totals[Path(path).parts[1].removesuffix(".py")] += count
  return dict(sorted(totals.items()))


def longest(lengths: dict[str, int]) -> dict[str, int]:
  """Returns the --count longest of `lengths`."""
  ordered = sorted(lengths.items(), key=lambda item: -item[1])
  return dict(ordered[: COUNT.value])


def print_tables(result: dict) -> None:
  """Prints the counts as text."""
  started = result["files_before_first_step"]
  in_fit = result["files_in_fit_before_first_step"]
  print(f"files that run before the first step: {len(started)}")
  print(f"  of them in training.fit: {len(in_fit)}")
  counts = by_package(dict.fromkeys(started, 1)).items()
  print(f"  by package: {', '.join(f'{n} {name}' for name, n in counts)}")
  setting = result["files_with_setting"]
  print(f"files that contain {SETTING.value}: {len(setting)}")
  for path, count in setting.items():
    print(f"  {count:5}  {path}")
  before = result.get("lines_by_package_before", {})
  print(f"lines in {result['files']} files: {result['lines']:,}")
  if before:
    print(f"  at {BEFORE.value}: {result['lines_before']:,}")
  packages = result["lines_by_package"]
  for name in sorted(packages.keys() | before.keys()):
    earlier = f"{before.get(name, 0):7,}" if before else ""
    print(f"  {packages.get(name, 0):7,} {earlier}  {name}")
  for title in ("longest_files", "longest_functions"):
    print(f"{title.replace('_', ' ')}, in lines:")
    for name, count in result[title].items():
      print(f"  {count:5}  {name}")


if __name__ == "__main__":
  command.run(main)

"""Changes single expressions of dlcore and counts the changes that tests find.

  mutants.py --count=200 --seed=1 --processes=2

First the whole suite runs once and records which test executes which line
(some 15 minutes on two cores; --coverage names a file that keeps the result).
Then every sampled mutant gets the tests that execute its lines, the quickest
first, and, if all pass, the whole files of those tests. A mutant is

  killed     a test failed
  timeout    the tests took ten times as long as without it, or longer
  survived   every test passed
  uncovered  no test executes the line

The last line is one JSON object; --output writes it to a file. --mutants
repeats the mutants of such a file. Needs Python 3.12 or later.
"""

import collections
import concurrent.futures
import contextlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from absl import flags
from mutation.sites import Site, sites_of

from dlcore import command
from dlcore.errors import UserError
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
  *("augment", "data", "generation", "layers"),
  *("optim", "storage", "tasks", "training"),
)
MAX_TESTS = 60
"""Tests of a line that run for a mutant, the quickest; all of their files run
if these pass."""

START_SECONDS = 30.0
"""Time to start Python and to import the tests, with room to spare."""

COUNT = flags.DEFINE_integer("count", 200, "number of mutants", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "seed of the sample")
PROCESSES = flags.DEFINE_integer("processes", 2, "mutants at a time")
COVERAGE = flags.DEFINE_string("coverage", "", "a file of the line coverage")
MUTANTS = flags.DEFINE_string("mutants", "", "a result whose mutants to repeat")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")


def main():
  """Runs the campaign and prints the survivors and the table."""
  command.no_arguments()
  if sys.version_info < (3, 12):
    raise UserError(
      "expected Python 3.12 or later, for sys.monitoring",
      f"got {sys.version.split()[0]}",
    )
  with tempfile.TemporaryDirectory(prefix="mutants-") as name:
    folder = Path(name)
    coverage = measure_coverage(folder)
    sites = sample_sites()
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for index in range(PROCESSES.value):
      trees.put(copy_tree(folder / str(index)))
    with concurrent.futures.ThreadPoolExecutor(PROCESSES.value) as pool:
      outcomes = list(
        pool.map(lambda site: judge(site, coverage, trees), sites)
      )
  counts = collections.Counter(outcomes)
  killed = counts["killed"] + counts["timeout"]
  result = {
    **provenance(ROOT),
    "seed": SEED.value,
    "mutants": len(sites),
    "score": killed / len(sites),
    **{name: counts[name] for name in ("killed", "timeout")},
    **{name: counts[name] for name in ("survived", "uncovered")},
    "sites": [
      {**site._asdict(), "outcome": outcome}
      for site, outcome in zip(sites, outcomes, strict=True)
    ],
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))


def measure_coverage(folder: Path) -> dict:
  """Returns the line coverage of both tiers, see `line_coverage`."""
  path = Path(COVERAGE.value) if COVERAGE.value else folder / "coverage.json"
  if not path.exists():
    parts = folder / "coverage"
    parts.mkdir()
    environment = {
      "LINE_COVERAGE": str(parts),
      "PYTHONPATH": str(ROOT / "experiments" / "campaigns"),
    }
    plugin = ("-p", "mutation.line_coverage")
    everything = ("-m", "slow or not slow")
    run_tests(ROOT, [*plugin, *everything], environment, seconds=3600)
    path.write_text(json.dumps(merge(parts.glob("*.json"))))
  return json.loads(path.read_text())


def merge(paths: Iterable[Path]) -> dict:
  """Returns the line coverage of several processes."""
  lines, seconds = collections.defaultdict(set), {}
  for path in paths:
    part = json.loads(path.read_text())
    for line, tests in part["lines"].items():
      lines[line] |= set(tests)
    seconds |= part["seconds"]
  return {
    "lines": {line: sorted(tests) for line, tests in lines.items()},
    "seconds": seconds,
  }


def sample_sites() -> list[Site]:
  """Returns the mutants of this campaign."""
  if MUTANTS.value:
    recorded = json.loads(Path(MUTANTS.value).read_text())["sites"]
    return [
      Site(**{field: entry[field] for field in Site._fields})
      for entry in recorded
    ]
  sites = list(sites_of(ROOT, PACKAGES))
  return random.Random(SEED.value).sample(sites, COUNT.value)


def copy_tree(folder: Path) -> Path:
  """Copies the files that the tests need, and returns the folder."""
  skipped = shutil.ignore_patterns(".*", "__pycache__", "runs", "shared")
  shutil.copytree(ROOT, folder, ignore=skipped)
  return folder


def judge(site: Site, coverage: dict, trees: "queue.SimpleQueue[Path]") -> str:
  """Returns the outcome of one mutant, in one of the copies."""
  tree = trees.get()
  file = tree / site.path
  text = file.read_text()
  try:
    file.write_text(site.apply(text))
    outcome = try_tests(tree, site, coverage)
  finally:
    file.write_text(text)
    trees.put(tree)
  print(
    f"{outcome:9} {site.path}:{site.first_line}"
    f"  {site.old[:60]!r} -> {site.new[:60]!r}",
    file=sys.stderr,
    flush=True,
  )
  return outcome


def try_tests(tree: Path, site: Site, coverage: dict) -> str:
  """Runs the tests of the mutated lines, then the whole of their files."""
  seconds = coverage["seconds"]
  tests = tests_of(site, coverage["lines"])
  if not tests:
    return "uncovered"
  quickest = sorted(tests, key=lambda test: seconds.get(test, 0))[:MAX_TESTS]
  files = sorted({test.split("::")[0] for test in tests})
  for selection in (quickest, files):
    chosen = tuple(selection)
    total = sum(s for test, s in seconds.items() if test.startswith(chosen))
    outcome = run_tests(
      tree,
      ["-x", "-n", "0", "-m", "slow or not slow", *selection],
      {"PYTHONPATH": str(tree)},
      seconds=START_SECONDS + 10 * total,
    )
    if outcome != "survived":
      return outcome
  return "survived"


def tests_of(site: Site, lines: dict[str, list[str]]) -> set[str]:
  """Returns the tests that execute the lines of a mutant.

  Lines of a module or class run when it is imported, before any test: theirs
  are the tests of the whole module.
  """
  numbers = range(site.first_line, site.last_line + 1)
  tests = set()
  for number in numbers:
    tests |= set(lines.get(f"{site.path}:{number}", ()))
  if tests - {""}:
    return tests - {""}
  if not any(f"{site.path}:{number}" in lines for number in numbers):
    return set()
  for line, others in lines.items():
    if line.startswith(f"{site.path}:"):
      tests |= set(others)
  return tests - {""}


def run_tests(
  tree: Path, arguments: list[str], environment: dict, seconds: float
) -> str:
  """Runs pytest in a tree and returns the outcome."""
  process = subprocess.Popen(
    [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
    cwd=tree,
    env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
    start_new_session=True,
  )
  try:
    code = process.wait(seconds)
  except subprocess.TimeoutExpired:
    return "timeout"
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)  # Also processes of its tests.
    process.wait()
  return "survived" if code == 0 else "killed"


if __name__ == "__main__":
  command.run(main)

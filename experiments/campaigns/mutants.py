"""Changes single expressions of dlcore and counts the changes that tests find.

  mutants.py --count=200 --seed=1 --processes=2 --output=mutants.json

First the whole suite runs once and records which test executes which line
(--coverage names a file that keeps the result). Then every sampled mutant gets
the tests that execute its lines, the quickest first, and, if they pass, the
other quick tests of their files. A mutant is

  killed      a test failed
  timeout     the tests took ten times as long as without it, or longer
  equivalent  every test passed; mutation/equivalent.json states why none fails
  survived    every test passed
  uncovered   no test executes the line
  pending     the quickest tests passed; --quick leaves the others to a second
              call without it, which continues the --output of the first

At the end, the tests that failed must pass without a mutant. --output holds the
result so far, and another call continues it; --mutants repeats the mutants of
another result. --before adds the score of an earlier sample to the result.
Needs Python 3.12 or later.
"""

import collections
import concurrent.futures
import itertools
import json
import os
import queue
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from mutation.sites import Site, sites_of
from mutation.tree import Tree

from dlcore import command
from dlcore.errors import UserError
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGNS = Path(__file__).resolve().parent
PACKAGES = (
  *("augment", "data", "generation", "layers"),
  *("optim", "storage", "tasks", "training"),
)
QUICKEST = (10, 60)
"""Numbers of quickest tests that run for a mutant before all others do."""

SLOW_SECONDS = 5.0
"""Time below which the other tests of the same files run, too: they may share
a fixture or a compiled function with a test that executes the line."""

OUTCOMES = (
  *("killed", "timeout", "equivalent", "survived", "uncovered", "pending"),
)
Outcome = dict[str, str]
"""`{"outcome": one of OUTCOMES, "test": the first one that failed}`."""

COUNT = flags.DEFINE_integer("count", 200, "number of mutants", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "seed of the sample")
PROCESSES = flags.DEFINE_integer("processes", 2, "mutants at a time")
COVERAGE = flags.DEFINE_string("coverage", "", "a file of the line coverage")
MUTANTS = flags.DEFINE_string("mutants", "", "a result whose mutants to repeat")
QUICK = flags.DEFINE_bool("quick", False, "stop after the quickest tests")
BEFORE = flags.DEFINE_string("before", "", "the result of an earlier sample")
OUTPUT = flags.DEFINE_string("output", "", "a file for the result")


def main():
  """Runs the campaign and prints its result."""
  command.no_arguments()
  if sys.version_info < (3, 12):
    raise UserError(
      "expected Python 3.12 or later, for sys.monitoring",
      f"got {sys.version.split()[0]}",
    )
  head = {**provenance(ROOT), "seed": SEED.value}
  if BEFORE.value:
    earlier = json.loads(Path(BEFORE.value).read_text())
    fields = ("date", "commit", "seed", "mutants", "score")
    head["before"] = {name: earlier[name] for name in fields}
  sites = sample_sites()
  outcomes = read_outcomes(OUTPUT.value)
  pending = {"outcome": "pending"}
  if missing := [
    site
    for site in sites
    if outcomes.get(site, pending)["outcome"] == "pending"
  ]:
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
      for site, outcome in judge_all(missing, Path(folder)):
        outcomes[site] = outcome
        write(head, sites, outcomes)
  print(json.dumps(write(head, sites, outcomes)))


def sample_sites() -> list[Site]:
  """Returns the mutants; a larger count continues those of a smaller one."""
  if MUTANTS.value:
    return list(read_outcomes(MUTANTS.value))
  sites = list(sites_of(ROOT, PACKAGES))
  random.Random(SEED.value).shuffle(sites)
  return sites[: COUNT.value]


def read_outcomes(path: str) -> dict[Site, Outcome]:
  """Returns the outcomes in a result, `{}` if the file does not exist."""
  if not Path(path).is_file():
    return {}
  outcomes = {}
  for entry in json.loads(Path(path).read_text())["sites"]:
    site = Site(*(entry[field] for field in Site._fields))
    outcome = entry["outcome"].replace("equivalent", "survived")
    outcomes[site] = {"outcome": outcome, "test": entry["test"]}
  return outcomes


def write(
  head: dict, sites: Sequence[Site], outcomes: dict[Site, Outcome]
) -> dict:
  """Returns the result so far, and writes it to --output."""
  reasons = json.loads((CAMPAIGNS / "mutation/equivalent.json").read_text())
  entries = []
  for site in sites:
    if site in outcomes:
      entry = {**site._asdict(), **outcomes[site]}
      line = site.mutated_line((ROOT / site.path).read_text())
      reason = reasons.get(site.path, {}).get(line)
      if reason and entry["outcome"] == "survived":
        entry |= {"outcome": "equivalent", "reason": reason}
      entries.append(entry)
  counts = collections.Counter(entry["outcome"] for entry in entries)
  died = counts["killed"] + counts["timeout"]
  result = {
    **head,
    "mutants": len(entries),
    "score": died / max(len(entries), 1),
    **{name: counts[name] for name in OUTCOMES},
    "sites": entries,
  }
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  return result


def judge_all(
  sites: Sequence[Site], folder: Path
) -> Iterable[tuple[Site, Outcome]]:
  """Yields the outcome of each mutant.

  Raises:
    UserError: a test that failed with a mutant fails without it, too.
  """
  # Programs that a mutant does not change are compiled once.
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "cache"))
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
  coverage = measure_coverage(folder)
  trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
  for index in range(PROCESSES.value):
    trees.put(Tree(ROOT, folder / str(index)))

  def judge(site: Site) -> Outcome:
    tree = trees.get()
    with tree.mutated(site):
      outcome = try_tests(tree, site, coverage)
    trees.put(tree)
    print(
      f"{outcome['outcome']:9} {site.path}:{site.first_line}"
      f"  {site.old[:60]!r} -> {site.new[:60]!r}  {outcome['test']}",
      file=sys.stderr,
      flush=True,
    )
    return outcome

  failed: set[str] = set()
  with concurrent.futures.ThreadPoolExecutor(PROCESSES.value) as pool:
    for site, outcome in zip(sites, pool.map(judge, sites), strict=True):
      yield site, outcome
      failed |= {outcome["test"]} - {""}
  if not failed:
    return
  again = trees.get().run_tests(sorted(failed), seconds=3600)
  if again["outcome"] != "survived":
    raise UserError(
      "expected tests that fail because of a mutant to pass without it",
      f"got a failure of {again['test']}",
      "repeat its mutants",
    )


def measure_coverage(folder: Path) -> dict[str, Any]:
  """Returns the line coverage of both tiers, see `line_coverage`."""
  path = Path(COVERAGE.value) if COVERAGE.value else folder / "coverage.json"
  if not path.exists():
    parts = folder / "coverage"
    parts.mkdir()
    plugin = ("-p", "mutation.line_coverage", "-p", "no:cacheprovider")
    everything = ("-m", "slow or not slow", "-n", str(PROCESSES.value))
    environment = {"LINE_COVERAGE": str(parts), "PYTHONPATH": str(CAMPAIGNS)}
    subprocess.run(
      [sys.executable, "-m", "pytest", *plugin, *everything],
      cwd=ROOT,
      env={**os.environ, **environment},
      stdout=sys.stderr,
      check=True,
    )
    path.write_text(json.dumps(merge(parts.glob("*.json"))))
  return json.loads(path.read_text())


def merge(paths: Iterable[Path]) -> dict[str, Any]:
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


def try_tests(tree: Tree, site: Site, coverage: dict[str, Any]) -> Outcome:
  """Runs the tests of the mutated lines, then others of their files."""
  seconds = collections.defaultdict(float, coverage["seconds"])
  tests = tests_of(site, coverage["lines"])
  if not tests:
    return {"outcome": "uncovered", "test": ""}
  files = {test.split("::")[0] for test in tests}
  others = {
    test
    for test, time in coverage["seconds"].items()
    if test.split("::")[0] in files and time < SLOW_SECONDS
  }
  quickest = sorted(tests, key=seconds.__getitem__)
  stages = [quickest[a:b] for a, b in itertools.pairwise((0, *QUICKEST))]
  if not QUICK.value:
    stages.append([*quickest[QUICKEST[-1] :], *sorted(others - tests)])
  for stage in stages:
    if stage:
      outcome = tree.run_tests(stage, 10 * sum(map(seconds.__getitem__, stage)))
      if outcome["outcome"] != "survived":
        return outcome
  return {"outcome": "pending" if QUICK.value else "survived", "test": ""}


def tests_of(site: Site, lines: dict[str, list[str]]) -> set[str]:
  """Returns the tests that execute the lines of a mutant.

  Lines of a module or class run when it is imported, before any test: theirs
  are the tests of the whole module.
  """
  tests = {
    test
    for number in range(site.first_line, site.last_line + 1)
    for test in lines.get(f"{site.path}:{number}", ())
  }
  if tests == {""}:
    for line, others in lines.items():
      if line.startswith(f"{site.path}:"):
        tests |= set(others)
  return tests - {""}


if __name__ == "__main__":
  command.run(main)

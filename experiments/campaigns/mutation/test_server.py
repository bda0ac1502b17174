"""Runs pytest for one request after another, each in a fork of this process.

Starting Python and importing libraries takes longer than some quick tests. This
process has imported them, but nothing of dlcore. A request is a line of JSON,
`{"tests": [ids], "seconds": limit}`, and so is the
answer, `{"outcome": "survived", "killed" or "timeout", "test": the first one
that failed}`.
"""

import contextlib
import importlib
import json
import math
import multiprocessing
import os
import runpy
import signal
import sys
from multiprocessing.connection import Connection

import pytest

LIBRARIES = (
  *("flax.linen", "optax", "orbax.checkpoint", "scipy.stats", "grain"),
  *("PIL.Image", "chex", "tokenizers"),
)
ARGUMENTS = (
  "-p",
  "no:cacheprovider",
  "-x",
  "-n",
  "0",
  "-m",
  "slow or not slow",
)
FORK = multiprocessing.get_context("fork")


def main() -> None:
  """Answers the requests on standard input."""
  runpy.run_path("tests/conftest.py")  # Sets variables that JAX reads once.
  for name in LIBRARIES:
    importlib.import_module(name)
  for line in sys.stdin:
    print(json.dumps(run_tests(**json.loads(line))), flush=True)


def run_tests(tests: list[str], seconds: float) -> dict[str, str]:
  """Returns the outcome of some tests, and the first of them that failed."""
  receiver, sender = FORK.Pipe(duplex=False)
  plugin = _Plugin(frozenset(tests), sender)
  process = FORK.Process(target=_run_pytest, args=(tests, plugin))
  process.start()
  assert process.pid is not None  # It has started.
  for _ in range(math.ceil(seconds)):  # A pause of all processes is no timeout.
    process.join(1)
    if process.exitcode is not None:
      break
  code = process.exitcode
  with contextlib.suppress(ProcessLookupError):
    os.killpg(process.pid, signal.SIGKILL)  # Also processes of its tests.
  process.join()
  # Of a test whose cases the mutant renamed, none runs.
  passed = code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
  outcome = "timeout" if code is None else "survived" if passed else "killed"
  return {
    "outcome": outcome,
    "test": receiver.recv() if receiver.poll() else "",
  }


def _run_pytest(tests: list[str], plugin: "_Plugin") -> None:
  os.setsid()
  null = os.open(os.devnull, os.O_RDWR)
  for descriptor in range(3):
    os.dup2(null, descriptor)
  # Selecting thousands of ids takes pytest longer than collecting their files.
  files = dict.fromkeys(test.split("::")[0] for test in tests)
  os._exit(pytest.main([*ARGUMENTS, *files], plugins=[plugin]))


class _Plugin:
  """Selects tests, and sends the first one that fails."""

  def __init__(self, tests: frozenset[str], sender: Connection):
    self._tests = tests
    self._sender = sender

  def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if item.nodeid in self._tests]

  def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
    if report.failed:
      self._sender.send(report.nodeid)


if __name__ == "__main__":
  main()

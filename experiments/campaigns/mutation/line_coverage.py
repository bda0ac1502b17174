"""A pytest plugin that records which tests execute which lines of dlcore.

Each process writes a JSON object
`{"lines": {"PATH:LINE": [test, ...]}, "seconds": {test: seconds}}` to a file in
the folder that the environment variable LINE_COVERAGE names. The test of lines
that run at an import is "".
"""

import collections
import inspect
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = str(ROOT / "dlcore") + os.sep
TOOL = sys.monitoring.COVERAGE_ID

_lines: dict[str, set[str]] = collections.defaultdict(set)
_seconds: dict[str, float] = collections.defaultdict(float)
_running = [""]


def pytest_configure() -> None:
  """Starts to record lines, the first time that each test executes them."""
  sys.monitoring.use_tool_id(TOOL, "line coverage")
  sys.monitoring.register_callback(
    TOOL, sys.monitoring.events.LINE, _record_line
  )
  sys.monitoring.set_events(TOOL, sys.monitoring.events.LINE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
  """Records the lines of a test and of the fixtures that it sets up."""
  _running[0] = item.nodeid
  sys.monitoring.restart_events()
  result = yield
  _running[0] = ""
  return result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
  """Adds up the time of a test and its fixtures."""
  _seconds[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
  """Writes the result."""
  sys.monitoring.set_events(TOOL, 0)
  sys.monitoring.free_tool_id(TOOL)
  lines = {line: sorted(tests) for line, tests in _lines.items()}
  path = Path(os.environ["LINE_COVERAGE"], f"{os.getpid()}.json")
  path.write_text(json.dumps({"lines": lines, "seconds": _seconds}))


def _record_line(code, line: int):
  path = code.co_filename
  if path.startswith(PACKAGE):
    # Lines of a module or class run in the first test that imports it.
    of_function = code.co_flags & inspect.CO_OPTIMIZED
    test = _running[0] if of_function else ""
    _lines[f"{path[len(str(ROOT)) + 1 :]}:{line}"].add(test)
  return sys.monitoring.DISABLE

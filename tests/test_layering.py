"""Imports go downwards only, and importing dlcore is cheap."""

import ast
import collections
import subprocess
import sys
from pathlib import Path

import pytest

from dlcore import data, models, tasks

ROOT = Path(__file__).parent.parent
LEVELS = (
  {"typing", "errors", "tracing"},
  {"filesystem", "host_memory", "interruption", "status_line"},
  {"exceptions"},
  {"standard_streams"},
  {"backend", "trees", "provenance"},
  {"task"},
  {"storage"},
  {
    "layers",
    "contrastive_losses",
    "losses",
    "metrics",
    "optim",
    "augment",
    "data",
    "report_arrays",
  },
  {"models", "generation", "representation"},
  {"tasks"},
  {"sharding", "report"},
  {"training"},
  {"transfer"},
  {"experiment"},
  {"search"},
  {"command"},
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
CONFINED = {
  "flax": {"layers", "models"},
  "absl": {"command", "data"},  # data: Grain's workers need parsed flags.
  "ml_collections": {"experiment"},
  "optuna": {"search"},
  "orbax": {"storage"},
}
NEVER = ("tensorflow.", "torch.", "importlib.util.", "clu.", "runpy.")
ALLOWED = {("runpy", "experiment")}  # Config files are the user's own Python.
FILES = sorted((ROOT / "dlcore").rglob("*.py"))
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))
NAMES = {*data.DATASETS, *models.MODELS, *tasks.TASKS}
"""Names of rows that only the tables and the defaults know."""


def imports(path: Path) -> list[str]:
  """Returns the modules that a file imports, `from a import b` as `a.b`."""
  names = []
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names += [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f"{path} imports relatively"
      names += [f"{node.module}.{alias.name}" for alias in node.names]
  return names


def part(path: Path) -> str:
  relative = path.relative_to(ROOT / "dlcore")
  return relative.parts[0].removesuffix(".py")


def relative(path: Path) -> str:
  return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_go_downwards(path):
  mine = part(path)
  if mine == "__init__":  # `load` imports the rest when it is called.
    assert set(imports(path)) <= {"typing.Any", "dlcore.experiment"}
    return
  for name in imports(path):
    top, *rest = name.split(".")
    if (top, mine) not in ALLOWED:
      assert not f"{name}.".startswith(NEVER), f"{path} imports {name}"
    if top in CONFINED:
      assert mine in CONFINED[top], f"{path} imports {name}"
    if top == "dlcore" and rest and rest[0] in LEVEL and rest[0] != mine:
      assert LEVEL[rest[0]] < LEVEL[mine], f"{path} imports {name}"


def test_every_part_has_a_level():
  assert {part(path) for path in FILES} - {"__init__"} == set(LEVEL)


def test_every_module_name_occurs_once():
  packages = [path.parent.name for path in FILES if path.stem == "__init__"]
  modules = [path.stem for path in FILES if path.stem != "__init__"]
  counts = collections.Counter(packages + modules)
  assert {name for name, count in counts.items() if count > 1} == set()


@pytest.mark.parametrize(
  "path",
  [p for p in FILES if part(p) in ("experiment", "report", "command")]
  + SCRIPTS,
  ids=relative,
)
def test_experiments_and_reports_know_no_row_by_name(path):
  tree = ast.parse(path.read_text())
  skipped = {
    id(child)
    for node in ast.walk(tree)
    if isinstance(node, ast.Assign)
    and getattr(node.targets[0], "id", "") in ("ADDED", "DEFAULTS")
    for child in ast.walk(node)
  }
  literals = {
    node.value
    for node in ast.walk(tree)
    if isinstance(node, ast.Constant)
    and isinstance(node.value, str)
    and id(node) not in skipped
  }
  assert literals & NAMES == set()


@pytest.mark.parametrize("folder", ["experiments", "configs"])
def test_no_script_hides_a_standard_module(folder):
  for path in (ROOT / folder).rglob("*.py"):
    assert path.stem not in sys.stdlib_module_names, path


def test_importing_the_package_imports_nothing_else():
  code = "import sys, dlcore; print({'jax', 'numpy'} & {*sys.modules})"
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "set()"


def test_importing_everything_imports_nothing_heavy():
  heavy = "tensorflow torch sklearn tensorflow_datasets orbax grain matplotlib"
  code = (
    "import sys, dlcore.experiment, dlcore.report, dlcore.command\n"
    f"print([m for m in '{heavy}'.split() if m in sys.modules])"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "[]"

"""Imports go downwards only, and nothing heavy is imported at import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
  {"typing", "errors"},
  {"trees", "task"},
  {"layers", "losses", "metrics", "optim", "augment", "data"},
  {"models", "tasks", "generation"},
  {"scale"},
  {"training"},
  {"transfer"},
  {"report"},
  {"experiment"},
  {"command"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
CONFINED = {
  "flax": {"layers", "models"},
  "absl": {"command", "data"},  # data: Grain's workers need parsed flags.
  "ml_collections": {"experiment"},
}
NEVER = ("tensorflow.", "torch.", "importlib.util.", "clu.", "runpy.")
ALLOWED = {("runpy", "experiment")}  # Config files are the user's own Python.
FILES = sorted((ROOT / "dlcore").rglob("*.py"))


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


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards(path):
  mine = part(path)
  if mine == "__init__":
    assert not imports(path)
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


@pytest.mark.parametrize("folder", ["experiments", "configs"])
def test_no_script_hides_a_standard_module(folder):
  for path in (ROOT / folder).rglob("*.py"):
    assert path.stem not in sys.stdlib_module_names, path


def test_importing_everything_brings_nothing_heavy():
  heavy = "tensorflow torch sklearn tensorflow_datasets orbax grain matplotlib"
  code = (
    "import sys, dlcore.experiment, dlcore.report, dlcore.command\n"
    f"print([m for m in '{heavy}'.split() if m in sys.modules])"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert result.stdout.strip() == "[]"

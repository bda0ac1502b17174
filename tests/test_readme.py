"""The programs and paths of the README work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  # Eight virtual devices take twice as long, and have tests of their own.
  devices = jax.devices()[:1]
  monkeypatch.setattr(jax, "devices", lambda: devices)
  [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  exec(compile(code, "README.md", "exec"), {})
  assert "accuracy" in capsys.readouterr().out
  assert (tmp_path / "runs" / "mine" / "metrics.jsonl").exists()


def test_the_files_of_the_readme_exist():
  root = Path(__file__).parent.parent
  for name in re.findall(r"(?:experiments|configs)/[\w/]+\.py", README):
    assert (root / name).is_file(), name


def test_the_results_of_the_readme_and_configs_are_those_of_the_script(
  tmp_path,
):
  root = Path(__file__).parent.parent
  readme = tmp_path / "README.md"
  readme.write_text(README.replace("| accuracy 9", "| accuracy 8"))
  configs = shutil.copytree(root / "configs", tmp_path / "configs")
  script = root / "experiments" / "results.py"
  arguments = [f"--readme={readme}", f"--configs={configs}"]
  subprocess.run([sys.executable, str(script), *arguments], check=True)
  assert readme.read_text() == README
  for path in (root / "configs").glob("*.py"):
    assert (configs / path.name).read_text() == path.read_text(), path.name

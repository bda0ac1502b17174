"""The programs and paths of the README work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  # Eight virtual devices take twice as long, and have tests of their own.
  devices = jax.devices()[:1]
  monkeypatch.setattr(jax, "devices", lambda: devices)
  [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
  exec(compile(code, "README.md", "exec"), {})
  assert "accuracy" in capsys.readouterr().out
  assert (tmp_path / "runs" / "mine" / "metrics.jsonl").exists()


def test_the_first_program_of_the_readme_is_the_study():
  [program, *_] = re.findall(r"```py\n(.*?)```", README, re.DOTALL)
  study = ROOT / "experiments" / "studies" / "minimal_loop.py"
  without_docstring = re.sub(r' *"""Trains on .*?"""\n', "", study.read_text())
  assert program in without_docstring


def test_the_files_and_benchmarks_of_the_readme_exist():
  for name in re.findall(
    r"(?:experiments|configs|tests|dlcore)/[\w/]*(?:\.py|/)", README
  ):
    assert (ROOT / name).exists(), name
  script = (ROOT / "experiments" / "benchmark.py").read_text()
  for name in re.findall(r"benchmark\.py (\w+)", README):
    assert f'"{name}":' in script, name


def test_the_results_of_the_readme_and_configs_are_those_of_the_script(
  tmp_path,
):
  readme = tmp_path / "README.md"
  readme.write_text(README.replace("| accuracy 9", "| accuracy 8"))
  configs = shutil.copytree(ROOT / "configs", tmp_path / "configs")
  script = ROOT / "experiments" / "results.py"
  arguments = [f"--readme={readme}", f"--configs={configs}"]
  subprocess.run([sys.executable, str(script), *arguments], check=True)
  assert readme.read_text() == README
  for path in (ROOT / "configs").glob("*.py"):
    assert (configs / path.name).read_text() == path.read_text(), path.name

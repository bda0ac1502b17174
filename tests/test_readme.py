"""The programs and paths of the README work."""

import re
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

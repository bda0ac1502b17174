"""Short forms of the long measurements."""

import json
import os
import subprocess
import sys
from pathlib import Path

import own_parts
import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_killed_runs_end_with_the_bits_of_an_undisturbed_one(tmp_path):
  result = subprocess.run(
    [
      sys.executable,
      "experiments/campaigns/kills.py",
      "--runs=2",
      "--phases=write,step",
      "--kinds=batch norm",
      f"--workdir={tmp_path / 'kills'}",
    ],
    cwd=ROOT,
    # One device: eight take twice as long. Programs without optimization run
    # longer than they save in compilation.
    env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stdout + result.stderr
  counts = json.loads(result.stdout.splitlines()[-1])
  assert counts["different"] == 0
  assert counts["runs"] == 2
  assert counts["kills"] >= 2


def test_the_example_of_own_parts_learns():
  before, after = own_parts.main(steps=200)
  assert after < before / 4

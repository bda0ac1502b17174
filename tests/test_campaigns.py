"""Short forms of the long measurements."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import peers, tax

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


@pytest.mark.slow
@pytest.mark.parametrize("name", peers.PEERS)
def test_the_steps_that_are_compared_with_pytorch_run(name):
  peer = peers.PEERS[name]._replace(batch=2, steps=1)
  assert peers.time_dlcore(peer, peer.source())() > 0


@pytest.mark.slow
def test_the_tax_is_measured():
  make_task, make_source, size, _, per_call = tax.PROBLEMS[
    "digits_mlp, 20 steps a call as in its config"
  ]
  parts = (make_task, make_source, size, 100, per_call)
  assert tax.measure_ratio(*parts, repeats=1)["ratio"] > 0

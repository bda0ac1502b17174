"""Properties of scripts that need a process of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
  "--config.model.name=mlp",
  "--config.model.widths=(8,)",
  "--config.data.augment.shift=0",
  "--config.optim.schedule.name=constant",
)
OFFLINE = """
import runpy, socket, sys
def refuse(*arguments):
  raise AssertionError("a connection was attempted")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def start(tmp_path):
  """Starts a script: `start("train", "--workdir=run") -> Popen`."""
  started = []

  def start(script, *arguments, prelude=()):
    path = str(ROOT / "experiments" / f"{script}.py")
    environment = {
      **os.environ,
      "DLCORE_CACHE": str(tmp_path / "cache"),
      "PYTHONPATH": str(ROOT),
      "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    process = subprocess.Popen(
      [sys.executable, *prelude, path, *arguments],
      cwd=tmp_path,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    started.append(process)
    return process

  yield start
  for process in started:
    process.kill()
    process.communicate()


def wait_for(condition, process, seconds=60):
  until = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, process.communicate()[1]
    assert time.monotonic() < until
    time.sleep(0.02)


def steps(run) -> list[int]:
  return [
    int(path.parent.name)
    for path in (run / "checkpoints").glob("*/sha256.json")
  ]


@pytest.mark.slow
def test_training_needs_no_network(start, tmp_path):
  process = start(
    "train",
    "--config.training.steps=2",
    *SMALL,
    prelude=("-c", OFFLINE),
  )
  out, err = process.communicate(timeout=60)
  assert process.returncode == 0, err
  (folder,) = (tmp_path / "runs").iterdir()
  assert folder.name.startswith("digits_cnn,")
  assert f"--workdir=runs/{folder.name}" in out
  assert (folder / "report.html").is_file()


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_resumes(start, tmp_path):
  run = tmp_path / "run"
  long = ("--workdir=run", "--config.training.steps=1000000", *SMALL)

  def logged() -> bool:
    log = run / "metrics.jsonl"
    return log.exists() and log.stat().st_size > before

  before = 0
  saved = [0]
  for _ in range(2):
    process = start("train", *long)
    wait_for(logged, process)
    other = start("train", *long)
    _, err = other.communicate(timeout=60)
    assert other.returncode == 2
    assert len(err[err.index("error:") :].splitlines()) == 3
    assert "another run" in err
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5
    assert process.returncode == 143
    assert "the same command resumes the run" in err.splitlines()[-1]
    saved.append(max(steps(run)))
    before = (run / "metrics.jsonl").stat().st_size
  assert saved[0] < saved[1] < saved[2]
  lines = (run / "metrics.jsonl").read_text().splitlines()
  logged_steps = [json.loads(line)["step"] for line in lines]
  assert logged_steps == sorted(logged_steps)


def test_an_interrupt_before_the_first_step_is_one_line(start, tmp_path):
  process = start("train", "--workdir=run", *SMALL)
  wait_for((tmp_path / "run" / "config.json").exists, process)
  process.send_signal(signal.SIGINT)
  _, err = process.communicate(timeout=30)
  assert process.returncode == 130
  assert err.splitlines()[-1].startswith(("interrupted", "stopped by SIGINT"))
  assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "1>&- 2>&-", "0<&-"])
def test_a_closed_stream_changes_nothing(tmp_path, closed):
  run = tmp_path / "run"
  script = ROOT / "experiments" / "train.py"
  line = f"{sys.executable} {script} --workdir={run} --config.training.steps=2"
  arguments = " ".join(f"'{argument}'" for argument in SMALL)
  result = subprocess.run(
    f"{line} {arguments} {closed}", shell=True, cwd=tmp_path, check=False
  )
  assert result.returncode == 0
  assert json.loads((run / "summary.json").read_text())["finished"]

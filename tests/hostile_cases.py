"""Cases of the campaign of hostile inputs, run by test_hostile.py."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax  # noqa: F401  Imported before the forks, which then need not.
import pytest

from dlcore.errors import UserError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def inputs(monkeypatch):
  """The package of the inputs."""
  monkeypatch.syspath_prepend(str(ROOT / "experiments" / "campaigns"))
  import hostile_inputs.images
  import hostile_inputs.tables
  import hostile_inputs.worker

  return hostile_inputs


@pytest.fixture
def kinds(inputs):
  return {"images": inputs.images.KIND, "tables": inputs.tables.KIND}


def refuse():
  raise UserError("expected a file", "got none", "pass one")


def fail():
  raise ValueError("unexpected")


def wait():
  time.sleep(60)


def suspend():
  process = os.getpid()
  if os.fork() == 0:
    time.sleep(2)
    os.kill(process, signal.SIGCONT)
    os._exit(0)
  os.kill(process, signal.SIGSTOP)


def loop():
  while True:
    pass


def allocate():
  return bytearray(b"x" * (1 << 29))


def start():
  subprocess.run(["gs", "--version"], check=False)


def unpickle():
  pickle.loads(b"cos\ngetcwd\n(tR.")


OUTCOMES = {
  "worked": lambda: None,
  "worked after a suspension": suspend,
  "refused": refuse,
  "traceback": fail,
  "hang": loop,
  "hang without use of the CPU": wait,
  "memory": allocate,
  "abort": os.abort,
  "foreign": start,
  "foreign class": unpickle,
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_outcome_of_a_call(name, inputs, tmp_path):
  worker, case = inputs.worker, inputs.case
  started = worker.write_stubs(tmp_path)
  # Other outcomes have time to happen on a busy machine.
  seconds = 1.0 if name.startswith("hang") else 60.0
  bounds = worker.Bounds(seconds=seconds, memory=1 << 29)
  outcome = worker.call(
    lambda: case.Case(OUTCOMES[name]), tmp_path, bounds, started
  )
  assert outcome.name == name.split()[0], outcome


def test_a_wrong_value_that_is_accepted_is_silent(inputs, tmp_path):
  worker = inputs.worker
  case = inputs.case.Case(lambda: 3, lambda value: f"{value} in place of 4")
  bounds = worker.Bounds(seconds=10.0, memory=1 << 32)
  started = worker.write_stubs(tmp_path)
  outcome = worker.call(lambda: case, tmp_path, bounds, started)
  assert outcome[:2] == ("silent", "3 in place of 4")


def test_an_input_is_a_function_of_seed_and_number(inputs, kinds, tmp_path):
  valid = tmp_path / "valid"
  valid.mkdir()
  (valid / "table.csv").write_text("x,y,answer\n" + "1,2,up\n" * 40)
  contents = []
  for seed, folder in ((1, "a"), (1, "b"), (2, "c")):
    (tmp_path / folder).mkdir()
    kind, name, make = inputs.worker.case_of(seed, 3, kinds)
    assert (kind, name) == ("tables", "mutated")
    make(tmp_path / folder, valid)
    contents.append((tmp_path / folder / "table.csv").read_bytes())
  assert contents[0] == contents[1] != contents[2]


def test_every_generator_has_its_turn(inputs, kinds):
  expected = {(k, n) for k in kinds for n in [*kinds[k].written, "mutated"]}
  cases = (inputs.worker.case_of(0, number, kinds) for number in range(80))
  assert {(kind, name) for kind, name, _ in cases} == expected


@pytest.mark.slow
def test_a_short_campaign(tmp_path):
  result = subprocess.run(
    [
      sys.executable,
      "experiments/campaigns/hostile.py",
      "--count=22",
      "--seconds=5",
      f"--workdir={tmp_path}",
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode in (0, 2), result.stdout + result.stderr
  counts = json.loads(result.stdout.splitlines()[-1])
  assert counts["inputs"] == 22
  assert len(counts["table"]) == 11
  assert not any("invalid" in outcomes for outcomes in counts["table"].values())

"""Several processes share the trials of a search, some of them killed."""

import fcntl
import random
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from study_worker import LEAVES, open_study

from dlcore import search
from dlcore.errors import UserError
from dlcore.search import processes
from dlcore.search.journal import FlockLock, open_storage

optuna.logging.set_verbosity(optuna.logging.ERROR)
WORKER = Path(__file__).with_name("study_worker.py")


def start(location, trials, seconds, output):
  command = [sys.executable, WORKER, location, trials, seconds, output]
  return subprocess.Popen(
    [str(part) for part in command], stdout=subprocess.PIPE, text=True
  )


def check_all_once(location, trials, output):
  """Checks that every trial has one result, and returns all in the storage."""
  study = open_study(location, trials)
  counted, every = study.counted(), study.study.trials
  study.close()
  assert len(counted) == trials
  assert all(t.state is optuna.trial.TrialState.COMPLETE for t in counted)
  numbers = [int(line) for line in output.read_text().split()]
  # A process may be killed after it has told a result.
  assert len(numbers) == len(set(numbers)) <= trials
  return every


@pytest.mark.slow
def test_killed_processes_lose_and_repeat_no_trial(tmp_path):
  location, output = tmp_path / "journal.log", tmp_path / "output"
  chance = random.Random(0)
  workers = [start(location, 40, 0.2, output) for _ in range(2)]
  for _ in range(5):
    time.sleep(chance.uniform(2.0, 4.0))
    victim = chance.randrange(2)
    workers[victim].kill()
    workers[victim].communicate()
    workers[victim] = start(location, 40, 0.2, output)
  for worker in workers:
    worker.communicate(timeout=60)
    assert worker.returncode == 0
  check_all_once(str(location), 40, output)


@pytest.mark.slow
def test_a_trial_of_a_killed_process_is_continued_with_its_values(tmp_path):
  location = str(tmp_path / "journal.log")
  worker = start(location, 3, 60, tmp_path / "output")
  first = int(worker.stdout.readline().split()[1])
  worker.kill()
  worker.communicate()
  study = open_study(location, 3)
  started = time.monotonic()
  points = study.ask(3)
  assert time.monotonic() - started < 2
  assert len(points) == 3
  assert {0, 1, first} < {point.number for point in points}
  own = next(p for p in points if p.number == 0)
  assert own.values == LEAVES
  for point in points:
    study.tell(point, 0.5)
  assert study.ask(1) == []
  assert not study.waits()
  study.close()


@pytest.mark.slow
def test_a_process_that_is_killed_within_the_lock_stops_nobody(tmp_path):
  path = tmp_path / "journal.log"
  study = open_study(str(path), 0)
  before = path.read_bytes()
  code = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from dlcore.search.journal import FlockLock\n"
    "path = Path(sys.argv[1])\n"
    "FlockLock(path).acquire()\n"
    "with path.open('ab') as file: file.write(b'{\"op_code\": 4, \"wor')\n"
    "print('locked', flush=True)\n"
    "time.sleep(60)\n"
  )
  holder = subprocess.Popen(
    [sys.executable, "-c", code, path], stdout=subprocess.PIPE
  )
  holder.stdout.readline()
  holder.kill()
  holder.communicate()
  started = time.monotonic()
  [point] = study.ask(1)
  assert time.monotonic() - started < 2
  study.tell(point, 1.0)
  study.close()
  assert path.read_bytes().startswith(before)
  again = open_study(str(path), 0)
  assert [t.value for t in again.counted()] == [1.0]
  again.close()


def test_the_lock_excludes_other_processes(tmp_path):
  path = tmp_path / "journal.log"
  lock = FlockLock(path)
  lock.acquire()
  with open(f"{path}.lock") as file, pytest.raises(BlockingIOError):
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  lock.release()
  with open(f"{path}.lock") as file:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_first_trial_has_the_values_of_the_config(tmp_path):
  study = open_study(str(tmp_path / "a"), 2)
  first, second = study.ask(2)
  assert first.values == LEAVES
  assert second.values["optim.name"] in ("adamw", "sgd")
  has_momentum = "optim.momentum" in second.values
  assert has_momentum == (second.values["optim.name"] == "sgd")
  study.close()


def test_the_config_is_the_first_trial_even_outside_of_the_space(tmp_path):
  space = {"optim.learning_rate": search.log(1e-2, 1)}
  study = search.SharedStudy(
    open_storage(str(tmp_path / "a")),
    space,
    LEAVES,
    sampler=optuna.samplers.RandomSampler(),
    pruner=optuna.pruners.NopPruner(),
    maximize=True,
    settings={},
  )
  first, second = study.ask(2)
  assert first.values == {}
  assert second.values["optim.learning_rate"] >= 1e-2
  study.close()


def test_no_more_trials_than_asked_for(tmp_path):
  location = str(tmp_path / "a")
  studies = [open_study(location, 5) for _ in range(2)]
  points = [point for study in studies for point in study.ask(4)]
  assert sorted(point.number for point in points) == list(range(5))
  for study in studies:
    study.close()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"settings": {"metric": "valid/loss"}}, "metric valid/accuracy"),
    ({"settings": {"seeds": 3}}, "seeds None"),
    ({"maximize": False}, "direction"),
  ],
)
def test_a_search_does_not_go_on_with_other_settings(
  tmp_path, changes, message
):
  location = str(tmp_path / "a")
  open_study(location, 5).close()
  with pytest.raises(UserError, match=message) as caught:
    open_study(location, 5, **changes)
  assert len(caught.value.lines) <= 3


def test_a_damaged_journal_names_the_line(tmp_path):
  path = tmp_path / "a"
  open_study(str(path), 5).close()
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(b"".join([lines[0], b"\x00garbage\n", *lines[1:]]))
  with pytest.raises(UserError, match="damaged line 2"):
    open_study(str(path), 5)


@pytest.mark.parametrize(
  "location",
  ["/proc/journal", "postgresql+nodriver://x/y", "sqlite:////proc/x"],
)
def test_a_storage_that_cannot_be_opened_is_refused(location):
  with pytest.raises(UserError) as caught:
    open_study(location, 5)
  assert len(caught.value.lines) <= 3


def test_a_process_is_dead_when_it_has_ended():
  child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1)
  host, pid, _ = processes.this_worker()
  other = processes.Worker(host, child.pid, processes._start(child.pid))
  now = time.time()
  assert not processes.is_dead(other.to_json(), 0)
  assert processes.is_dead(other._replace(start="1").to_json(), now)
  child.kill()
  child.communicate()
  assert processes.is_dead(other.to_json(), now)
  elsewhere = other._replace(host="another").to_json()
  assert not processes.is_dead(elsewhere, now)
  assert processes.is_dead(elsewhere, now - 1000)
  assert pid != child.pid

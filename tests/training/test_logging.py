"""The log's lines on disk: JSON and what TensorBoard reads."""

import json
import struct

import jax.numpy as jnp
import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from dlcore.training import Phases, logging


def events(workdir):
  """Returns the events in the order in which the files were begun."""
  found = []
  for path in sorted((workdir / "tensorboard").iterdir()):
    content = path.read_bytes()
    while content:
      (size,) = struct.unpack("<Q", content[:8])
      found.append(Event.FromString(content[12 : 12 + size]))
      content = content[16 + size :]
  return found


def test_a_line_is_one_object_and_one_event(tmp_path):
  log = logging.RunLog(tmp_path, 0)
  log.write(50, "train", {"loss": 0.123456789, "accuracy": 0.5})
  log.write(50, "valid", {"loss": 0.25})
  log.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {"step": 50, "split": "train", "loss": 0.1234568, "accuracy": 0.5},
    {"step": 50, "split": "valid", "loss": 0.25},
  ]
  shown = [
    (event.step, value.tag, value.simple_value)
    for event in events(tmp_path)
    for value in event.summary.value
  ]
  assert shown == [
    (50, "train/loss", pytest.approx(0.1234568)),
    (50, "train/accuracy", 0.5),
    (50, "valid/loss", 0.25),
  ]


def test_going_on_cuts_the_lines_and_tells_tensorboard_to(tmp_path):
  first = logging.RunLog(tmp_path, 0)
  for step in (10, 20, 30):
    first.write(step, "train", {"loss": 1.0})
  first.close()
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 20, "spl')  # The power went off.
  second = logging.RunLog(tmp_path, 20)
  second.write(30, "train", {"loss": 2.0})
  second.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["loss"] for line in lines] == [1.0, 1.0, 2.0]
  starts = [
    event.step
    for event in events(tmp_path)
    if event.session_log.status == SessionLog.START
  ]
  assert starts == [1, 21]


def watch(workdir, **settings):
  settings = {
    "log_every": 4,
    "batch_size": 2,
    "overlap": True,
    "progress": False,
    "phases": Phases(),
    **settings,
  }
  return logging.Watch(workdir, 0, 100, lambda sums: {}, **settings)


def entry(step):
  metrics = {"loss": (jnp.float32(step), jnp.float32(1))}
  halted = jnp.bool_(step == 9)
  return {
    "metrics": metrics,
    "loss": jnp.float32(step),
    "shown": {},
    "halted": halted,
    "skipped": jnp.int32(0),
  }


@pytest.mark.parametrize("overlap", [True, False])
def test_every_line_is_written_however_late_it_is_looked_at(tmp_path, overlap):
  watched = watch(tmp_path, overlap=overlap)
  for step in range(8):
    watched.add(step, 1, entry(step))
  watched.flush()
  watched.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  shown = [
    (json.loads(line)["step"], json.loads(line)["loss"]) for line in lines
  ]
  assert shown == [(4, 3.0), (8, 7.0)]


def test_a_halted_step_is_seen_and_nothing_later_is_written(tmp_path):
  watched = watch(tmp_path)
  for step in range(8, 20):
    watched.add(step, 1, entry(min(step, 9)))
  watched.flush()
  watched.close()
  assert watched.halted
  assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_few_steps_are_on_their_way_when_each_takes_long(monkeypatch):
  clock = iter(range(1000))
  monkeypatch.setattr(logging.time, "monotonic", lambda: next(clock))
  watched = watch(None, log_every=1000)
  for step in range(10):
    watched.add(step, 1, entry(0))
  assert len(watched._pending) == 1


def test_the_rate_is_that_of_the_steps_however_late_and_without_pauses(
  tmp_path, monkeypatch
):
  now = [0.0]
  monkeypatch.setattr(logging.time, "monotonic", lambda: now[0])
  phases = Phases()
  watched = watch(tmp_path, phases=phases)
  monkeypatch.setattr(logging, "AHEAD_SECONDS", 1000.0)

  class Loss(float):
    """A loss that is there half a second after that of the step before."""

    def __init__(self, step):
      self._done = 0.5 * (step + 1) + (100.0 if step > 3 else 0.0)

    def block_until_ready(self):
      now[0] = max(now[0], self._done)

  for step in range(8):
    watched.add(step, 1, {**entry(0), "loss": Loss(step)})
    if step == 3:
      watched.flush()
      now[0] += 100.0  # An evaluation.
      phases.seconds["evaluation"] += 100.0
  watched.flush()
  watched.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  rates = [json.loads(line)["examples_per_second"] for line in lines]
  assert rates == [pytest.approx(2 / 0.5)] * 2


def test_a_log_that_was_changed_is_told_when_the_run_goes_on(tmp_path, caplog):
  log = logging.RunLog(tmp_path, 0)
  log.write(10, "train", {"loss": 1.25})
  log.mark(10)()
  log.write(20, "train", {"loss": 1.5})  # Later than the save.
  log.close()
  path = tmp_path / "metrics.jsonl"
  logging.RunLog(tmp_path, 10).close()
  assert not caplog.records
  path.write_text(path.read_text().replace("1.25", "1.75"))
  logging.RunLog(tmp_path, 10).close()
  assert "metrics.jsonl is not as it was when step 10" in caplog.text


@pytest.mark.parametrize(
  "name", ["metrics.jsonl", "metrics.tmp", "sha256.json.tmp"]
)
def test_nothing_is_written_through_a_link(name, tmp_path):
  mine = tmp_path / "mine"
  mine.write_text("mine")
  run = tmp_path / "run"
  run.mkdir()
  (run / name).symlink_to(mine)
  log = logging.RunLog(run, 0)
  log.write(10, "train", {"loss": 1.0})
  log.mark(10)()
  log.close()
  assert mine.read_text() == "mine"

"""The log's lines on disk: JSON and what TensorBoard reads."""

import json
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from dlcore.training.logging import RunLog


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
  log = RunLog(tmp_path, 0)
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
  first = RunLog(tmp_path, 0)
  for step in (10, 20, 30):
    first.write(step, "train", {"loss": 1.0})
  first.close()
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 20, "spl')  # The power went off.
  second = RunLog(tmp_path, 20)
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


def test_a_log_that_was_changed_is_told_when_the_run_goes_on(tmp_path, caplog):
  log = RunLog(tmp_path, 0)
  log.write(10, "train", {"loss": 1.25})
  log.mark(10)()
  log.write(20, "train", {"loss": 1.5})  # Later than the save.
  log.close()
  path = tmp_path / "metrics.jsonl"
  RunLog(tmp_path, 10).close()
  assert not caplog.records
  path.write_text(path.read_text().replace("1.25", "1.75"))
  RunLog(tmp_path, 10).close()
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
  log = RunLog(run, 0)
  log.write(10, "train", {"loss": 1.0})
  log.mark(10)()
  log.close()
  assert mine.read_text() == "mine"

"""The metric log on disk: lines of JSON and events of TensorBoard."""

import json
import math
import os
import struct
import tracemalloc
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from dlcore.errors import UserError
from dlcore.filesystem.atomic import temporary_path
from dlcore.storage import (
  MetricLog,
  checksums,
  is_intact,
  metric_log,
  tensorboard,
)


def events(workdir):
  """Returns the events in the order in which their files were created."""
  result = []
  for path in sorted((workdir / "tensorboard").iterdir()):
    content = path.read_bytes()
    while content:
      (size,) = struct.unpack("<Q", content[:8])
      result.append(Event.FromString(content[12 : 12 + size]))
      content = content[16 + size :]
  return result


def test_a_line_is_one_object_and_one_event(tmp_path):
  log = MetricLog(tmp_path, 0)
  log.write(50, "train", {"loss": 0.123456789, "accuracy": 0.5})
  log.write(50, "valid", {"loss": 0.25})
  log.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line) for line in lines] == [
    {"step": 50, "split": "train", "loss": 0.1234568, "accuracy": 0.5},
    {"step": 50, "split": "valid", "loss": 0.25},
  ]
  scalars = [
    (event.step, value.tag, value.simple_value)
    for event in events(tmp_path)
    for value in event.summary.value
  ]
  assert scalars == [
    (50, "train/loss", pytest.approx(0.1234568)),
    (50, "train/accuracy", 0.5),
    (50, "valid/loss", 0.25),
  ]


def test_continuing_removes_later_lines_and_events(tmp_path):
  first = MetricLog(tmp_path, 0)
  for step in (10, 20, 30):
    first.write(step, "train", {"loss": 1.0})
  first.close()
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 20, "spl')  # A power failure.
  second = MetricLog(tmp_path, 20)
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


def test_rewinding_removes_later_lines(tmp_path):
  log = MetricLog(tmp_path, 0)
  for step in (10, 20, 30):
    log.write(step, "train", {"loss": 1.0})
  log.rewind(20)
  log.write(30, "train", {"loss": 2.0})
  log.mark(30)()
  log.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["loss"] for line in lines] == [1.0, 1.0, 2.0]
  assert is_intact(tmp_path, "metrics.jsonl")


def test_lines_are_on_the_disk_before_their_checksum_is(tmp_path, monkeypatch):
  log = MetricLog(tmp_path, 0)
  log.write(10, "train", {"loss": 1.0})
  path = tmp_path / "metrics.jsonl"
  synced = []

  def fsync(descriptor):
    if os.path.samestat(os.fstat(descriptor), path.stat()):
      marks = json.loads((tmp_path / checksums.NAME).read_text())
      synced.append("10" in marks.get("metrics.jsonl", {}))

  (tmp_path / checksums.NAME).write_text("{}")
  monkeypatch.setattr(os, "fsync", fsync)
  log.mark(10)()
  log.close()
  assert synced == [False]


def test_events_are_visible_after_five_seconds(tmp_path, monkeypatch):
  now = [1e9]
  monkeypatch.setattr(tensorboard.time, "time", lambda: now[0])
  log = MetricLog(tmp_path, 0)
  visible = []
  for seconds in (0, 1, 4, 1, 4):
    now[0] += seconds
    log.write(10, "train", {"loss": 1.0})
    visible.append(
      sum(event.summary.ByteSize() > 0 for event in events(tmp_path))
    )
  log.close()
  assert visible == [1, 1, 1, 4, 4]


def test_values_that_json_cannot_represent_are_omitted(tmp_path):
  log = MetricLog(tmp_path, 0)
  log.write(10, "train", {"loss": math.nan, "norm": math.inf, "rate": 0.5})
  log.close()
  text = (tmp_path / "metrics.jsonl").read_text()
  assert text == '{"step": 10, "split": "train", "rate": 0.5}\n'


def test_a_log_changed_before_a_save_is_reported_at_the_start(tmp_path, caplog):
  log = MetricLog(tmp_path, 0)
  log.write(10, "train", {"loss": 1.25})
  log.mark(10)()
  log.write(20, "train", {"loss": 1.5})  # Later than the save.
  log.close()
  path = tmp_path / "metrics.jsonl"
  MetricLog(tmp_path, 10).close()
  assert not caplog.records
  path.write_text(path.read_text().replace("1.25", "1.75"))
  assert not is_intact(tmp_path, "metrics.jsonl")
  MetricLog(tmp_path, 10).close()
  assert "metrics.jsonl differs from the log at the save" in caplog.text
  assert "step 10" in caplog.text


def test_lines_that_are_not_records_are_counted_but_for_the_last(
  tmp_path, caplog
):
  record = b'{"step": 1, "split": "train", "loss": 2.0}\n'
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(record + record[:20])
  assert metric_log.truncate(path, 5) == record
  assert caplog.text == ""  # A process was killed while it wrote the line.
  path.write_bytes(b'{"metrics.jsonl": {}\n}\n' + record + record[:20])
  assert metric_log.truncate(path, 5) == record
  assert "2 lines that are not records are removed" in caplog.text


def test_a_line_that_is_nested_too_deeply_is_removed(tmp_path):
  log = MetricLog(tmp_path, 0)
  log.write(10, "train", {"loss": 1.25})
  log.close()
  path = tmp_path / "metrics.jsonl"
  text = path.read_text()
  path.write_text(text + "[" * 100_000 + "\n")
  MetricLog(tmp_path, 10).close()
  assert path.read_text() == text


def test_marks_of_the_last_saves_are_kept_and_later_ones_removed(tmp_path):
  log = MetricLog(tmp_path, 0)
  for step in range(60, 121, 10):  # Of two and of three digits.
    log.write(step, "train", {"loss": 1.0})
    log.mark(step)()
  log.close()

  def marks():
    content = json.loads((tmp_path / checksums.NAME).read_text())
    return sorted(map(int, content["metrics.jsonl"]))

  assert marks() == [90, 100, 110, 120]
  MetricLog(tmp_path, 100).close()
  assert marks() == [90, 100]


@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize(
  "name", ["metrics.jsonl", "sha256.json", "tensorboard"]
)
def test_nothing_is_written_through_a_link(name, temporary, tmp_path):
  if temporary:  # Its name has the number of this process.
    name = temporary_path(Path(name)).name
  mine = tmp_path / "mine"
  mine.mkdir() if name == "tensorboard" else mine.write_text("{}")
  run = tmp_path / "run"
  run.mkdir()
  (run / name).symlink_to(mine)
  log = MetricLog(run, 0)
  log.write(10, "train", {"loss": 1.0})
  log.mark(10)()
  log.close()
  if name == "tensorboard":
    assert not list(mine.iterdir())
  else:
    assert mine.read_text() == "{}"


def test_a_long_line_is_removed_in_little_memory(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1, "split": "train"}\n')
  with path.open("r+b") as file:
    file.truncate(1 << 26)
  tracemalloc.start()
  MetricLog(tmp_path, 10).close()
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 1 << 24
  assert path.read_text() == '{"step": 1, "split": "train"}\n'


def test_a_folder_in_place_of_the_log_is_refused(tmp_path):
  (tmp_path / "metrics.jsonl").mkdir()
  with pytest.raises(UserError, match="expected to write a file at"):
    MetricLog(tmp_path, 0)


def test_a_file_in_place_of_the_folder_of_events_is_refused(tmp_path):
  (tmp_path / "tensorboard").write_text("")
  log = MetricLog(tmp_path, 0)
  with pytest.raises(UserError, match="expected a folder at"):
    log.write(1, "train", {"loss": 1.0})
  log.close()


def test_a_log_larger_than_any_that_is_written_is_refused(tmp_path):
  path = tmp_path / "metrics.jsonl"
  with path.open("wb") as file:
    file.truncate(1 << 40)
  with pytest.raises(UserError, match="1,099,511,627,776 bytes") as error:
    MetricLog(tmp_path, 10)
  assert "at most 4,294,967,296 bytes" in error.value.lines[0]


def test_a_line_longer_than_any_that_is_written_is_removed(tmp_path):
  path = tmp_path / "metrics.jsonl"
  line = json.dumps({"step": 1, "split": "x" * 900_000}) + "\n"
  longer = json.dumps({"step": 1, "split": "x" * 1_050_000}) + "\n"
  path.write_text(longer + line)
  MetricLog(tmp_path, 10).close()
  assert path.read_text() == line

"""The logs of the steps are written, however late the monitor reads them."""

import contextlib
import json

import jax
import jax.numpy as jnp
import pytest

from dlcore import storage
from dlcore.task import Task
from dlcore.training import Phases, monitor, progress
from dlcore.training.memory import NullLog

TASK = Task(init=None, loss=None, evaluate=None, predict=None)


@contextlib.contextmanager
def monitored(workdir, **settings):
  """Yields a monitor that writes to `workdir`, or nowhere if it is None."""
  settings = {
    "log_every": 4,
    "batch_size": 2,
    "overlap": True,
    "phases": Phases(),
    "task": TASK,
    **settings,
  }
  shown = progress.Progress(100, 0, enabled=False)
  with contextlib.ExitStack() as stack:
    log = NullLog() if workdir is None else storage.MetricLog(workdir, 0)
    stack.callback(log.close)
    reader = monitor.Monitor(log, shown, **settings)
    stack.callback(reader.close)
    yield reader


def lines(workdir):
  text = (workdir / "metrics.jsonl").read_text()
  return list(map(json.loads, text.splitlines()))


def entry(step):
  metrics = {"loss": (jnp.float32(step), jnp.float32(1))}
  halted = jnp.bool_(step == 9)
  return {
    "metrics": metrics,
    "loss": jnp.float32(step),
    "halted": halted,
    "skipped": jnp.int32(0),
  }


@pytest.mark.parametrize("overlap", [True, False])
def test_every_line_is_written_however_late_it_is_read(tmp_path, overlap):
  with monitored(tmp_path, overlap=overlap) as reader:
    for step in range(8):
      reader.add(step, 1, entry(step))
    reader.flush()
  written = [(line["step"], line["loss"]) for line in lines(tmp_path)]
  assert written == [(4, 3.0), (8, 7.0)]


def test_a_halted_step_is_reported_and_no_later_line_is_written(tmp_path):
  with monitored(tmp_path) as reader:
    for step in range(8, 20):
      reader.add(step, 1, entry(min(step, 9)))
    reader.flush()
    assert reader.halted
  assert lines(tmp_path) == []


@pytest.mark.parametrize("overlap", [True, False])
def test_flush_reports_a_halt_in_the_last_step(overlap):
  """However fast the steps are, and though no line of the log is due."""
  with monitored(None, log_every=1000, overlap=overlap) as reader:
    for step in range(10):
      reader.add(step, 1, entry(step))
    reader.flush()
    assert reader.halted


def test_skips_are_reported_once(caplog):
  """Those of a rollback are reported by the rollback."""
  skips = [0, 1, 1, 2, 3, 3, 4]
  with monitored(None, log_every=1, overlap=False) as reader:
    for step, skipped in enumerate(skips):
      halted = jnp.bool_(step == 4)
      skipped = jnp.int32(skipped)
      reader.add(step, 1, {**entry(0), "skipped": skipped, "halted": halted})
      if reader.halted:
        reader.reset()
  messages = [record.getMessage() for record in caplog.records]
  assert [message.rpartition(": ")[2] for message in messages] == [
    "1 up to step 2",
    "2 up to step 4",
    "4 up to step 7",
  ]


@pytest.mark.parametrize(("before", "reports"), [(0, 1), (1, 0)])
def test_a_skip_in_the_first_step_is_reported_unless_it_was(
  before, reports, caplog
):
  settings = {"skipped": before} if before else {}
  with monitored(None, log_every=1, **settings) as reader:
    reader.add(0, 1, {**entry(0), "skipped": jnp.int32(1)})
    reader.flush()
  assert len(caplog.records) == reports


def test_few_steps_are_in_flight_if_each_takes_long(monkeypatch):
  clock = iter(range(1000))
  monkeypatch.setattr(monitor.time, "monotonic", lambda: next(clock))
  done = []

  class Loss(float):
    """A loss that records that the monitor waited for it."""

    def block_until_ready(self):
      done.append(int(self))

  with monitored(None, log_every=1000) as reader:
    for step in range(10):
      reader.add(step, 1, {**entry(0), "loss": Loss(step)})
  assert done == list(range(9))


def test_the_steps_in_flight_take_a_quarter_of_a_second(monkeypatch):
  now, behind = [0.0], []
  monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])

  class Loss(float):
    """A loss that is ready a sixteenth of a second after the one before."""

    def block_until_ready(self):
      now[0] = (int(self) + 1) / 16
      behind.append(step - int(self))

  with monitored(None, log_every=1000) as reader:
    for step in range(100):
      reader.add(step, 1, {**entry(0), "loss": Loss(step)})
  assert set(behind[20:]) == {4}


def test_the_rate_is_that_of_the_steps_however_late_and_without_pauses(
  tmp_path, monkeypatch
):
  now = [0.0]
  monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
  phases = Phases()
  monkeypatch.setattr(monitor, "IN_FLIGHT_SECONDS", 1000.0)

  class Loss(float):
    """A loss that is ready half a second after that of the step before."""

    def __init__(self, step):
      self.ready_at = 0.5 * (step + 1) + (100.0 if step > 3 else 0.0)

    def block_until_ready(self):
      now[0] = max(now[0], self.ready_at)

  with monitored(tmp_path, phases=phases) as reader:
    for step in range(8):
      reader.add(step, 1, {**entry(0), "loss": Loss(step)})
      if step == 3:
        reader.flush()
        now[0] += 100.0  # An evaluation.
        phases.seconds["evaluation"] += 100.0
    reader.flush()
  rates = [line["examples_per_second"] for line in lines(tmp_path)]
  assert rates == [pytest.approx(2 / 0.5)] * 2


def test_a_late_read_makes_no_peak_of_the_rate(tmp_path, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
  with monitored(tmp_path, log_every=1, overlap=False) as reader:
    for step in range(20):  # A step takes 0.1 s; every second read is late.
      now[0] = 0.1 * (step + 1) + (0.099 if step % 2 == 0 else 0.0)
      reader.add(step, 1, entry(0))
  rates = [line["examples_per_second"] for line in lines(tmp_path)]
  assert rates[10:] == [pytest.approx(2 / 0.1, rel=0.15)] * 10


@pytest.mark.parametrize("count", [1, 2])
def test_a_metric_of_arrays_is_whole_for_any_number_of_steps(tmp_path, count):
  sums = (jnp.array([1.0, 5.0, 9.0]), jnp.array([2.0, 5.0, 9.0]))

  def worst(sums):
    hits, sizes = sums["_hits"]
    return {"worst": float((hits / sizes).min())}

  task = TASK._replace(derived=worst)
  log = {**entry(0), "metrics": {"_hits": sums}}
  if count > 1:
    log = jax.tree.map(lambda leaf: jnp.stack([leaf] * count), log)
  settings = {"task": task, "log_every": count, "overlap": False}
  with monitored(tmp_path, **settings) as reader:
    reader.add(0, count, log)
    reader.flush()
  assert lines(tmp_path)[0]["worst"] == 0.5


def test_the_loss_of_a_task_without_such_a_metric_is_in_the_log(tmp_path):
  metrics = {"error": (jnp.float32(4), jnp.float32(2))}
  with monitored(tmp_path) as reader:
    reader.add(3, 1, {**entry(3), "metrics": metrics})
    reader.flush()
  [line] = lines(tmp_path)
  assert line["error"] == 2.0
  assert line["loss"] == 3.0

"""The progress of a run shows true numbers, in a terminal and elsewhere."""

import io
import re
import time

import jax.numpy as jnp
import numpy as np
import problem
import pytest

from dlcore import status_line
from dlcore.status_line import status
from dlcore.training import Phases, progress
from dlcore.training.intervals import Intervals


class Terminal(io.StringIO):
  def isatty(self):
    return True


def open_terminal(monkeypatch, columns=200):
  """Replaces standard error; in a fixture pytest would replace it again."""
  stream = Terminal()
  monkeypatch.setattr("sys.stderr", stream)
  monkeypatch.setenv("COLUMNS", str(columns))
  monkeypatch.setenv("TERM", "xterm")
  return stream


@pytest.fixture
def clock(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  return now


def test_the_loss_is_the_mean_of_the_latest_fifty_steps():
  losses = np.random.default_rng(0).normal(size=130).astype(np.float32)
  running = progress.RunningLoss()
  for step in range(1, 131):
    running.add(step, jnp.asarray(losses[step - 1]))
    if step % 7 == 0:  # However often it is read.
      latest = losses[max(0, step - 50) : step]
      assert running.mean() == pytest.approx(latest.mean(), abs=1e-6)
  several = progress.RunningLoss()
  for step in range(20, 121, 20):
    several.add(step, jnp.asarray(losses[step - 20 : step]))
  assert several.mean() == pytest.approx(losses[70:120].mean(), abs=1e-6)


def test_each_step_counts_once_and_losses_not_finite_do_not():
  running = progress.RunningLoss()
  assert np.isnan(running.mean())
  for step, loss in ((1, 1.0), (2, float("nan")), (3, 2.0), (3, 2.0)):
    running.add(step, jnp.float32(loss))
  assert running.mean() == 1.5
  running.reset()
  running.add(2, jnp.float32(5))  # After a rollback.
  assert running.mean() == 5


def test_the_time_left_is_true_from_the_first_evaluation_on(clock, capsys):
  """Steps take 1 s; evaluations and their saves, one every 10 steps, 5 s."""
  schedule = Intervals.create(
    95, 10, eval_every=10, checkpoint_every=0, keep_every=0, steps_per_call=1
  )
  phases, left = Phases(), {}
  shown = progress.Progress(
    95, 0, enabled=True, intervals=schedule, phases=phases
  )
  for step in range(1, 96):
    clock[0] += 1
    shown.update(step, 0.5, 1000.0)
    left[clock[0]] = shown.seconds_left(step, clock[0])
    if schedule.evaluates(step):
      clock[0] += 5
      phases.seconds["evaluation"] += 4
      phases.seconds["checkpoint"] += 1
      shown.evaluations += 1
      left[clock[0]] = shown.seconds_left(step, clock[0])
  assert clock[0] == 145
  after = {now: value for now, value in left.items() if now > 10}
  assert after == {now: pytest.approx(145 - now) for now in after}
  first, second, *_ = capsys.readouterr().err.splitlines()
  # Before the first evaluation its time is unknown.
  assert first.endswith("  85 s left")
  assert second.endswith("  2 min left")


def test_a_line_has_the_mean_loss_and_the_last_and_best_validation(
  capsys, monkeypatch
):
  monkeypatch.setattr(progress, "LINE_SECONDS", 0)
  shown = progress.Progress(100, 0, enabled=True)
  shown.update(10, 0.5, 1000.0)
  shown.show_validation("valid", {"loss": 0.25, "accuracy": 0.9})
  shown.show_best("accuracy", 0.95, 40)
  shown.update(60, 0.25, 1000.0)
  first, second = capsys.readouterr().err.splitlines()
  assert first.startswith("step 10/100  loss 0.5000 (mean of 10)  1,000 ex")
  assert "loss 0.2500 (mean of 50)" in second
  assert "accuracy 0.9000  best accuracy 0.9500 at 40  1,000 ex" in second


def test_the_last_line_has_the_last_evaluation(capsys):
  shown = progress.Progress(20, 0, enabled=True)
  shown.update(20, 0.5, 1000.0)
  shown.show_validation("valid", {"accuracy": 0.9})
  shown.close()
  [line] = capsys.readouterr().err.splitlines()
  assert "step 20/20" in line
  assert "valid: accuracy 0.9000" in line


def test_a_bar_is_cut_to_the_width_of_the_terminal(monkeypatch):
  terminal = open_terminal(monkeypatch, columns=60)
  shown = progress.Progress(100, 0, enabled=True)
  shown.show_validation("valid", {"accuracy": 0.9, "balanced": 0.8})
  shown.update(60, 0.25, 1000.0)
  shown.close()
  text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
  last = text.splitlines()[-1]
  assert len(last) <= 60
  assert "step 60/100  0 s left  loss 0" in last


def test_a_bar_in_a_terminal_shows_the_metric_that_decides(monkeypatch):
  terminal = open_terminal(monkeypatch)
  shown = progress.Progress(100, 0, enabled=True)
  shown.show_validation("valid", {"loss": 0.3, "accuracy": 0.9})
  shown.show_best("accuracy", 0.95, 40)
  shown.update(60, 0.25, 1000.0)
  shown.close()
  text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
  last = text.splitlines()[-1]
  assert "step 60/100  0 s left  loss 0.2500 (mean of 50)  valid: acc" in last
  assert "0.9000  best accuracy 0.9500 at 40  1,000 examples/s" in last


@pytest.mark.parametrize(
  ("seconds", "text"),
  [
    *((0.2, "0 s"), (99, "99 s"), (150, "2 min"), (5900, "98 min")),
    *((7500, "2 h 5 min"), (400_000, "111 h 7 min")),
  ],
)
def test_the_time_left_has_two_units_at_most(seconds, text):
  assert progress.format_left(seconds) == text


def test_a_long_status_is_a_line_without_a_terminal(monkeypatch):
  stream = io.StringIO()
  monkeypatch.setattr("sys.stderr", stream)
  with status("reading"):  # Short.
    pass
  monkeypatch.setattr(status_line, "LONG_SECONDS", 0.0)
  with status("compiling the step", enabled=False):
    pass
  deadline = time.monotonic() + 10
  with status("importing jax"):
    while not stream.getvalue() and time.monotonic() < deadline:
      time.sleep(0.01)
  assert stream.getvalue() == "importing jax\n"


def test_a_status_is_erased_in_a_terminal_also_after_an_error(monkeypatch):
  terminal = open_terminal(monkeypatch)
  shown = []

  def fail():
    with status("compiling the step"):
      shown.append(terminal.getvalue())
      raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    fail()
  assert shown == ["compiling the step\r"]
  assert terminal.getvalue().endswith("\x1b[K")


def test_a_status_without_standard_error_is_silent(monkeypatch):
  monkeypatch.setattr("sys.stderr", None)
  with status("compiling the step"):
    pass


def test_a_run_shows_its_best_step(capsys, tmp_path):
  problem.fit(tmp_path, steps=4, eval_every=2, progress=True)
  (last,) = capsys.readouterr().err.splitlines()
  assert re.search(
    r"step 4/4  loss \S+ \(mean of 4\)  valid: .*best loss", last
  )
  assert last.endswith("0 s left")
  # A finished run compiles nothing.
  problem.fit(tmp_path, steps=4, eval_every=2, progress=True)
  assert "compiling" not in capsys.readouterr().err


def test_progress_without_standard_error_is_silent(capsys, monkeypatch):
  monkeypatch.setattr(progress, "LINE_SECONDS", 0)
  monkeypatch.setattr("sys.stderr", None)
  shown = progress.Progress(100, 0, enabled=True)
  shown.update(10, 0.5, 1000.0)
  shown.close()
  assert capsys.readouterr().out == ""


def test_lines_of_progress_show_the_latest_validation(capsys, monkeypatch):
  monkeypatch.setattr(progress, "LINE_SECONDS", 0)
  shown = progress.Progress(100, 0, enabled=True)
  shown.update(10, 0.5, 1000.0)
  shown.show_validation("valid", {"loss": 0.25, "accuracy": 0.9})
  shown.update(20, 0.4, 1000.0)
  first, second = capsys.readouterr().err.splitlines()
  assert "valid" not in first
  assert "valid: loss 0.2500  accuracy 0.9000" in second


def test_progress_prints_every_ten_seconds_and_at_the_end(capsys, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
  shown = progress.Progress(104, 0, enabled=True)
  for step in range(4, 105, 4):
    now[0] = step / 2
    shown.update(step, 0.5, 1000.0)
  shown.close()
  lines = capsys.readouterr().err.splitlines()
  steps = [int(line.split()[1].removesuffix("/104")) for line in lines]
  assert steps == [20, 40, 60, 80, 100, 104]
  left = [float(line.split()[-3]) for line in lines]
  assert left == [42, 32, 22, 12, 2, 0]

"""The profiler traces the steps that are asked for, once."""

import jax
import pytest

from dlcore.training.profiling import Profiler


@pytest.fixture
def calls(monkeypatch):
  """The starts and stops of traces."""
  calls = []
  monkeypatch.setattr(jax.profiler, "start_trace", calls.append)
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
  return calls


@pytest.mark.parametrize(
  ("steps", "started", "stopped"),
  [((2, 5), 2, 5), ((0, 1), 0, 1), ((7, 100), 7, None), (None, None, None)],
)
def test_a_trace_lasts_from_the_first_step_to_the_last(
  steps, started, stopped, calls, tmp_path
):
  lengths, due = [], []
  with Profiler(steps, tmp_path) as profiler:
    for step in range(10):
      if profiler.is_due(step):
        due.append(step)
      profiler.update(step)
      lengths.append(len(calls))
  changes = [step for step in (started, stopped) if step is not None]
  assert due == changes
  assert lengths == [sum(at <= step for at in changes) for step in range(10)]
  folder = str(tmp_path / "profile")
  assert calls == ([] if steps is None else [folder, "stop"])


def test_a_run_that_continues_within_the_steps_traces_the_rest(calls, tmp_path):
  profiler = Profiler((2, 5), tmp_path)
  profiler.update(4)
  profiler.update(9)
  profiler.update(3)  # A roll-back.
  assert calls == [str(tmp_path / "profile"), "stop"]

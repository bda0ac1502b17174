"""The wall time of a run, by phase, and the number of its steps."""

import problem
import pytest

from dlcore import training
from dlcore.training import phases as module


def test_the_steps_and_phases_of_a_run_are_those_of_this_process(tmp_path):
  problem.fit(tmp_path, steps=10)
  phases = training.Phases()
  problem.fit(tmp_path, steps=20, layer_statistics_every=5, phases=phases)
  assert phases.steps == 10
  used = {name for name, seconds in phases.seconds.items() if seconds > 0}
  assert used == {
    *("compile", "feed", "step", "statistics", "evaluation", "checkpoint"),
    "report",
  }
  assert sum(phases.seconds.values()) <= phases.total()


def test_the_time_of_training_excludes_all_phases_but_steps_and_batches(
  monkeypatch,
):
  now = [5.0]
  monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
  monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
  phases = training.Phases()
  for duration, name in enumerate(module.NAMES):
    for _ in range(2):
      with phases(name):
        now[0] += duration
  now[0] += 100  # Between the phases.
  assert phases.seconds == {
    name: 2 * duration for duration, name in enumerate(module.NAMES)
  }
  assert phases.total() == sum(phases.seconds.values()) + 100
  assert phases.training() == pytest.approx(
    100 + phases.seconds["step"] + phases.seconds["feed"]
  )
  assert training.Phases(start=2.0).total() == now[0] - 2

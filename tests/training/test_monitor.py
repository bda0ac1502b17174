"""What the steps said is written, however late the loop looks."""

import json

import jax.numpy as jnp
import pytest

from dlcore.training import Phases, watch


def watching(workdir, **settings):
  settings = {
    "log_every": 4,
    "batch_size": 2,
    "overlap": True,
    "progress": False,
    "phases": Phases(),
    **settings,
  }
  return watch.Watch(workdir, 0, 100, lambda sums: {}, **settings)


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
  watched = watching(tmp_path, overlap=overlap)
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
  watched = watching(tmp_path)
  for step in range(8, 20):
    watched.add(step, 1, entry(min(step, 9)))
  watched.flush()
  watched.close()
  assert watched.halted
  assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_few_steps_are_on_their_way_when_each_takes_long(monkeypatch):
  clock = iter(range(1000))
  monkeypatch.setattr(watch.time, "monotonic", lambda: next(clock))
  watched = watching(None, log_every=1000)
  for step in range(10):
    watched.add(step, 1, entry(0))
  assert len(watched._pending) == 1


def test_the_rate_is_that_of_the_steps_however_late_and_without_pauses(
  tmp_path, monkeypatch
):
  now = [0.0]
  monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
  phases = Phases()
  watched = watching(tmp_path, phases=phases)
  monkeypatch.setattr(watch, "AHEAD_SECONDS", 1000.0)

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


def test_a_look_that_comes_late_makes_no_peak(tmp_path, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
  watched = watching(tmp_path, log_every=1, overlap=False)
  for step in range(20):  # A step takes 0.1 s, of two looks one is late.
    now[0] = 0.1 * (step + 1) + (0.099 if step % 2 == 0 else 0.0)
    watched.add(step, 1, entry(0))
  watched.close()
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  rates = [json.loads(line)["examples_per_second"] for line in lines]
  assert rates[10:] == [pytest.approx(2 / 0.1, rel=0.15)] * 10

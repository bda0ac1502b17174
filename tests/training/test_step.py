"""The step is one compiled program, whatever a run does besides."""

import chex
import problem

from dlcore.training import setup


def test_the_step_is_traced_once_over_a_run(tmp_path, monkeypatch):
  traces = []
  make = setup.make_step

  def counted(*arguments, **settings):
    step = make(*arguments, **settings)

    def count(*inputs):
      traces.append(1)
      return step(*inputs)

    return chex.assert_max_traces(count, n=1)

  monkeypatch.setattr(setup, "make_step", counted)
  problem.fit(
    tmp_path, checkpoint_every=15, log_every=7, layer_statistics_every=9
  )
  assert len(traces) == 1

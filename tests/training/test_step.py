"""The step is one compiled program, whatever a run does beside it."""

import chex
import problem

from dlcore.training import trainer


def test_the_step_is_traced_once_over_a_run(tmp_path, monkeypatch):
  traces = []
  make = trainer.make_step

  def counted(*arguments, **settings):
    step = make(*arguments, **settings)

    def count(*inputs):
      traces.append(1)
      return step(*inputs)

    return chex.assert_max_traces(count, n=1)

  monkeypatch.setattr(trainer, "make_step", counted)
  problem.fit(tmp_path, checkpoint_every=15, log_every=7, watch_every=9)
  assert len(traces) == 1

"""The cost of layer statistics: a run with and without them."""

import statistics
import tempfile

from benchmarks import problems

from dlcore import training

MNIST = (problems.mnist_cnn, problems.images, problems.BATCH, 400, 1)
DIGITS = (problems.digits_mlp, problems.digits, 32, 20_000, 20)
PROBLEMS = {
  "mnist_cnn, each 100 steps": (*MNIST, 100),
  "digits_mlp, 20 steps a call, each 100 steps": (*DIGITS, 100),
  "digits_mlp, 20 steps a call, each 500 steps": (*DIGITS, 500),
}
"""Task, data, batch size, steps, steps in a call, and steps between
measurements."""


def measure(repeats: int) -> dict:
  """Returns the ratio of the times, with / without, by problem."""
  return {
    name: _ratio(*parts, repeats=repeats) for name, parts in PROBLEMS.items()
  }


def _ratio(
  make_task, make_source, batch_size, steps, per_call, every, *, repeats
):
  task, source = make_task(), make_source()
  rows = []
  for _ in range(repeats + 1):
    times = [
      _seconds(task, source, batch_size, steps, per_call, interval)
      for interval in (0, every)
    ]
    rows.append((times[1] / times[0], times[0]))
  ratios = sorted(ratio for ratio, _ in rows[1:])
  return {
    "ratio": statistics.median(ratios),
    "least": ratios[0],
    "most": ratios[-1],
    "seconds_without": statistics.median(plain for _, plain in rows[1:]),
  }


def _seconds(task, source, batch_size, steps, per_call, every) -> float:
  """Returns the time of the steps, the log and the statistics."""
  phases = training.Phases()
  with tempfile.TemporaryDirectory() as workdir:
    training.fit(
      task,
      problems.optimizer(),
      source,
      steps=steps,
      batch_size=batch_size,
      workdir=workdir,
      layer_statistics_every=every,
      checkpoint_every=steps,
      steps_per_call=per_call,
      progress=False,
      phases=phases,
    )
  spent = phases.seconds
  return spent["step"] + spent["feed"] + spent["statistics"]

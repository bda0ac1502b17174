"""What the trainer costs: `training.fit` against a bare loop of its step."""

import statistics
import tempfile
import time

import jax
import numpy as np
from benchmarks import problems

from dlcore import scale, training
from dlcore.data import indices
from dlcore.training import state as states

MNIST = (problems.mnist_cnn, problems.images, problems.BATCH, 800)
DIGITS = (problems.digits_mlp, problems.digits, 32, 80_000)
PROBLEMS = {
  "mnist_cnn": (*MNIST, 1),
  "digits_mlp, 20 steps a call as in its config": (*DIGITS, 20),
  "digits_mlp, one step a call": (*DIGITS, 1),
}
"""Task, data, batch size, steps and steps in a call."""


def measure(repeats: int) -> dict:
  """Returns the ratio of throughputs, loop / bare, by problem.

  The loop logs every 50 steps, evaluates and saves ten times; the time of
  the evaluations themselves is left out, that of the saves is not.
  """
  return {name: _ratio(*parts, repeats) for name, parts in PROBLEMS.items()}


def _ratio(
  make_task, make_source, batch_size, steps, per_call, repeats
) -> dict:
  task, source = make_task(), make_source()
  bare = _bare(task, source, batch_size, per_call)
  rows = []
  for _ in range(repeats + 1):
    plain = bare(steps)
    whole = _whole(task, source, batch_size, steps, per_call)
    rows.append((plain / whole, plain, whole))
  rows = rows[1:]  # The first round imports and fills caches.
  ratios = sorted(ratio for ratio, _, _ in rows)
  return {
    "ratio": statistics.median(ratios),
    "least": ratios[0],
    "most": ratios[-1],
    "bare_examples_per_second": round(
      steps * batch_size / statistics.median(plain for _, plain, _ in rows)
    ),
  }


def _bare(task, source, batch_size, per_call):
  parallel = scale.data_parallel(batch_size)
  tx = problems.optimizer()
  step = training.make_step(task, tx, log_every=50)
  dataset = parallel.replicate(dict(source.arrays))
  rows = indices(0, 0, source.size, 2)
  sample = {**source.read(rows), "index": rows}

  def batch(first: int) -> dict:
    rows = [
      indices(0, index, source.size, batch_size)
      for index in range(first, first + per_call)
    ]
    return {"index": np.stack(rows) if per_call > 1 else rows[0]}

  def create():
    # Without what only the host reads.
    state = states.create(task, tx, sample, 0).replace(decided={})
    return parallel.replicate(state)

  state = create()
  run = parallel.compile(step, state, dataset, batch(0), repeat=per_call > 1)

  def loop(steps: int) -> float:
    state = create()
    begun = time.perf_counter()
    for first in range(0, steps, per_call):
      state, _ = run(state, dataset, batch(first))
    jax.block_until_ready(state)
    return time.perf_counter() - begun

  return loop


def _whole(task, source, batch_size, steps, per_call) -> float:
  phases = training.Phases()
  with tempfile.TemporaryDirectory() as workdir:
    training.fit(
      task,
      problems.optimizer(),
      source,
      source,
      steps=steps,
      batch_size=batch_size,
      workdir=workdir,
      eval_every=steps // 10,
      steps_per_call=per_call,
      progress=False,
      phases=phases,
    )
  spent = phases.seconds
  return spent["step"] + spent["feed"] + spent["checkpoint"]

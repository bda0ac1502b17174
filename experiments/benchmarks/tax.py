"""The cost of the trainer: `training.fit` against a bare loop of its step."""

import statistics
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np
from benchmarks import problems

from dlcore import data, sharding, training
from dlcore.task import Task
from dlcore.training.programs import gather

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

  The loop logs every 50 steps, evaluates and saves ten times. The time of
  the saves counts, that of the evaluations does not.
  """
  return {
    name: measure_ratio(*parts, repeats=repeats)
    for name, parts in PROBLEMS.items()
  }


def measure_ratio(
  make_task: Callable[[], Task],
  make_source: Callable[[], data.Source],
  batch_size: int,
  steps: int,
  per_call: int,
  *,
  repeats: int,
) -> dict:
  """Returns the median, least and greatest ratio of one problem."""
  task, source = make_task(), make_source()
  bare = _bare(task, source, batch_size, per_call)
  rows = []
  for _ in range(repeats + 1):
    plain = bare(steps)
    total = _fit(task, source, batch_size, steps, per_call)
    rows.append((plain / total, plain, total))
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
  """Returns a bare loop: `(number of steps) -> seconds`."""
  partitioner = sharding.partitioner(batch_size)
  order = data.shuffled(source.size, batch_size)
  tx = problems.optimizer()
  step = _fit_step(task, tx)
  arrays = partitioner.replicate(dict(source.arrays))
  first_rows = {"index": order(0, 0).index}
  example = {**source.read(first_rows["index"]), **first_rows}

  def gather_and_step(state, arrays, rows):
    return step(state, gather(arrays, rows))

  def rows(first: int) -> dict:
    index = [order(0, i).index for i in range(first, first + per_call)]
    return {"index": np.stack(index) if per_call > 1 else index[0]}

  def init():
    state = training.init_state(
      task, tx, example, guard=training.init_guard(), metrics=True
    )
    return partitioner.put_state(state)

  run = partitioner.compile(
    gather_and_step, init(), arrays, first_rows, num_steps=per_call
  )

  def loop(steps: int) -> float:
    state = init()
    start = time.perf_counter()
    for first in range(0, steps, per_call):
      state, _ = run(state, arrays, rows(first))
    jax.block_until_ready(state)
    return time.perf_counter() - start

  return loop


def _fit_step(task, tx):
  """Returns the step of `training.fit` with its defaults."""
  step = training.make_step(task, tx)
  step = training.guard(step, max_consecutive_skips=3)
  return training.sum_metrics(step, log_every=50)


def _fit(task, source, batch_size, steps, per_call) -> float:
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

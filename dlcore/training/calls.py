"""The calls of the compiled step: when, of how many steps, with which data."""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from dlcore.data import loader
from dlcore.data.source import Source, indices
from dlcore.scale import DataParallel
from dlcore.training.phases import Phases
from dlcore.training.state import State
from dlcore.typing import Batch


class Plan:
  """When the loop does more than a step."""

  def __init__(self, steps, eval_every, checkpoint_every, steps_per_call):
    """Takes the numbers of `fit`; 0 steps a call chooses by backend."""
    self.steps = steps
    self.eval_every = eval_every
    self.checkpoint_every = checkpoint_every
    on_cpu = jax.default_backend() == "cpu"
    self.steps_per_call = steps_per_call or (1 if on_cpu else 20)

  def evaluates(self, step: int) -> bool:
    """Tells whether an evaluation follows `step`."""
    return step > 0 and (step % self.eval_every == 0 or step == self.steps)

  def saves(self, step: int) -> bool:
    """Tells whether a save follows `step`, the best or not."""
    return step % self.checkpoint_every == 0 or step == self.steps

  def pauses(self, step: int) -> bool:
    """Tells whether no call may reach beyond `step`."""
    return self.evaluates(step) or self.saves(step)

  def counts(self, step: int) -> Iterator[int]:
    """Yields the steps of each call from `step` to the end."""
    while step < self.steps:
      pause = min(
        self.steps,
        (step // self.eval_every + 1) * self.eval_every,
        (step // self.checkpoint_every + 1) * self.checkpoint_every,
      )
      # Only full calls and single steps: two programs, whatever the plan.
      full = self.steps_per_call <= pause - step
      count = self.steps_per_call if full else 1
      yield count
      step += count


class Compiled:
  """The step, compiled for one and for several steps a call."""

  def __init__(self, parallel: DataParallel, step: Callable):
    """Takes the devices and the pure function of a single step."""
    self._parallel = parallel
    self._step = step
    self._programs: dict[int, Callable] = {}

  def prepare(self, feed, counts: set[int], state, dataset, phases: Phases):
    """Compiles for calls of `counts` steps, and returns the whole `feed`."""
    with phases("feed"):
      first = next(feed, None)
    if first is not None:
      size, batch = first
      one = jax.tree.map(lambda rows: rows[0], batch) if size > 1 else batch
      with phases("compile"):
        for count in counts:
          rows = jax.tree.map(lambda row, n=count: np.stack([row] * n), one)
          self._compile(count, state, dataset, rows if count > 1 else one)

    def whole():
      try:
        if first is not None:
          yield first
          yield from feed
      finally:
        feed.close()

    return whole()

  def __call__(self, count: int, state: State, dataset, batch):
    """Runs `count` steps."""
    # Every array that goes in and out costs 5 us.
    decided, state = state.decided, state.replace(decided={})
    state, log = self._programs[count](state, dataset, batch)
    return state.replace(decided=decided), log

  def _compile(self, count, state: State, dataset, batch) -> None:
    state = state.replace(decided={})
    self._programs[count] = self._parallel.compile(
      self._step, state, dataset, batch, repeat=count > 1
    )


def feed(
  source: Source,
  plan: Plan,
  step: int,
  first: int,
  seed: int,
  batch_size: int,
  stream: bool,
  workers: int,
) -> Iterator[tuple[int, Batch]]:
  """Yields the steps of each call and their batches, from batch `first` on."""
  stop = first + plan.steps - step
  if stream:
    batches = loader.batches(
      source, seed, batch_size, first, stop, workers=workers
    )
  else:
    batches = (
      {"index": indices(seed, index, source.size, batch_size)}
      for index in range(first, stop)
    )
  try:
    for count in plan.counts(step):
      if count == 1:
        yield 1, next(batches)
      else:
        group = [next(batches) for _ in range(count)]
        yield count, jax.tree.map(lambda *rows: np.stack(rows), *group)
  finally:
    batches.close()

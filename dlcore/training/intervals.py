"""When the loop evaluates and saves, and how many steps a dispatch makes."""

from collections.abc import Iterator
from typing import NamedTuple

import jax

CPU_STEPS_PER_CALL, STEPS_PER_CALL = 1, 20


class Intervals(NamedTuple):
  """Schedule of evaluations, checkpoints and multi-step dispatches."""

  steps: int
  """The last step."""

  eval_every: int
  """Steps between evaluations; another one follows the last step."""

  checkpoint_every: int
  """Steps between saves; 0 for a save at each evaluation."""

  keep_every: int
  """Saved steps that it divides are never deleted; 0 for none."""

  steps_per_call: int
  """The greatest number of steps of a dispatch."""

  @classmethod
  def create(
    cls,
    steps: int,
    steps_per_epoch: int,
    *,
    eval_every: int,
    checkpoint_every: int,
    keep_every: int,
    steps_per_call: int,
  ) -> "Intervals":
    """Returns the intervals of `fit`, where 0 stands for a default.

    The default of `eval_every`, an epoch or 200 steps, does not depend on
    `steps`: an extended run evaluates at the same steps as before, and once
    more at its former end.
    """
    return cls(
      steps,
      eval_every or max(steps_per_epoch, 200),
      checkpoint_every,
      keep_every,
      steps_per_call or default_steps_per_call(),
    )

  def evaluates(self, step: int) -> bool:
    """Returns whether an evaluation follows `step`."""
    return step > 0 and (step % self.eval_every == 0 or step == self.steps)

  def saves(self, step: int) -> bool:
    """Returns whether a save follows `step`, the best or not."""
    every = (self.checkpoint_every, self.keep_every)
    due = any(step > 0 == step % interval for interval in every if interval)
    if not self.checkpoint_every:
      due |= self.evaluates(step)
    return due or step == self.steps

  def next_pause(self, step: int) -> int:
    """Returns the first step after `step` that evaluates or saves."""
    every = (self.eval_every, self.checkpoint_every, self.keep_every)
    pauses = ((step // n + 1) * n for n in every if n)
    return min(self.steps, *pauses)

  def step_counts(self, step: int) -> Iterator[int]:
    """Yields the number of steps of each dispatch from `step` to the end."""
    while step < self.steps:
      pause = self.next_pause(step)
      # Only full dispatches and single steps: two programs, at any interval.
      while step < pause:
        full = self.steps_per_call <= pause - step
        count = self.steps_per_call if full else 1
        yield count
        step += count


def default_steps_per_call() -> int:
  """Returns the number of steps of a dispatch on this backend.

  On CPU, a convolution inside a loop is ten times slower than outside.
  """
  on_cpu = jax.default_backend() == "cpu"
  return CPU_STEPS_PER_CALL if on_cpu else STEPS_PER_CALL

"""When the loop logs, evaluates and saves, and the steps of a dispatch."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax

CPU_STEPS_PER_CALL, STEPS_PER_CALL = 1, 20

EVAL_EVERY, LOG_EVERY = 200, 50
"""Default intervals in steps. That of evaluations is at least an epoch."""

LEAST = 20
"""Evaluations and lines of the log of a run that is too short for as many at
the default intervals."""


class Intervals(NamedTuple):
  """Schedule of logs, evaluations, saves and multi-step dispatches."""

  steps: int
  """The last step."""

  eval_every: int
  """Steps between evaluations; another one follows the last step."""

  log_every: int
  """Steps between lines of the log."""

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
    log_every: int = 0,
    counts_evaluations: bool = False,
    recorded: Mapping[str, int] | None = None,
  ) -> "Intervals":
    """Returns the intervals of `fit`, where 0 stands for a default.

    Those of long runs do not depend on `steps`: an extended run logs and
    evaluates at the same steps as before, and once more at its former end.

    Args:
      steps: the last step.
      steps_per_epoch: the default of `eval_every` of long runs, if it is more
        than `EVAL_EVERY`.
      eval_every: see `fit`, as for the next three.
      checkpoint_every: steps between saves.
      keep_every: steps between checkpoints that are kept.
      steps_per_call: steps in one compiled call.
      log_every: steps between lines of the log.
      counts_evaluations: whether evaluations change the training, so that
        their default does not depend on `steps`.
      recorded: default `eval_every` and `log_every` of the run to continue;
        missing ones are those of long runs. None for a new run.
    """
    evaluating = max(steps_per_epoch, EVAL_EVERY)
    logging = LOG_EVERY
    if recorded is None:
      logging = _shortened(logging, steps)
      if not counts_evaluations and steps < LEAST * EVAL_EVERY:
        evaluating = _shortened(evaluating, steps)
    else:
      evaluating = recorded.get("eval_every", evaluating)
      logging = recorded.get("log_every", logging)
    return cls(
      steps=steps,
      eval_every=eval_every or evaluating,
      log_every=log_every or logging,
      checkpoint_every=checkpoint_every,
      keep_every=keep_every,
      steps_per_call=steps_per_call or default_steps_per_call(),
    )

  def evaluates(self, step: int) -> bool:
    """Returns whether an evaluation follows `step`."""
    return step > 0 and (step % self.eval_every == 0 or step == self.steps)

  def evaluations_after(self, step: int) -> int:
    """Returns the number of evaluations after the one of `step`."""
    left = self.steps // self.eval_every - step // self.eval_every
    return left + (step < self.steps and self.steps % self.eval_every > 0)

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


def _shortened(interval: int, steps: int) -> int:
  """Returns an interval that occurs at least `LEAST` times in `steps`."""
  return min(interval, max(steps // LEAST, 1))


def default_steps_per_call() -> int:
  """Returns the number of steps of a dispatch on this backend.

  On CPU, a convolution inside a loop is ten times slower than outside.
  """
  on_cpu = jax.default_backend() == "cpu"
  return CPU_STEPS_PER_CALL if on_cpu else STEPS_PER_CALL

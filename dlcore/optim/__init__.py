"""From settings to an Optax chain: clip, direction, decay, learning rate."""

import re

import optax

from dlcore.errors import UserError, lookup
from dlcore.optim.optimizers import OPTIMIZERS
from dlcore.optim.penalties import NO_DECAY, penalty
from dlcore.optim.schedules import SCHEDULES
from dlcore.optim.schedules import create as schedule
from dlcore.trees import map_with_path, select
from dlcore.typing import Schedule

__all__ = [
  "NO_DECAY",
  "OPTIMIZERS",
  "SCHEDULES",
  "create",
  "penalty",
  "schedule",
]


def create(
  name: str,
  *,
  learning_rate: Schedule | float,
  clip_norm: float = 0.0,
  no_decay: str = NO_DECAY,
  **settings,
) -> optax.GradientTransformation:
  """Makes an optimizer that clips the gradient first.

  Args:
    name: a key of `OPTIMIZERS`.
    learning_rate: a number, or a schedule `(step) -> number`.
    clip_norm: largest global norm of the gradient; 0 does not clip (Pascanu
      et al. 2013, arXiv:1211.5063).
    no_decay: regex over parameter paths that weight decay leaves alone.
    **settings: keyword settings of the optimizer, `weight_decay` among them.

  Raises:
    UserError: the name is unknown, or a number out of range.
  """
  if clip_norm < 0:
    raise UserError("expected optim.clip_norm >= 0", f"got {clip_norm}")
  if settings.get("weight_decay", 0) < 0:
    raise UserError(
      "expected optim.weight_decay >= 0", f"got {settings['weight_decay']}"
    )

  try:
    re.compile(no_decay)
  except re.error as error:
    raise UserError(
      "expected optim.no_decay to be a regular expression",
      f"got {no_decay!r}: {error}",
    ) from error

  def decayed(params):
    rules = [(no_decay, False)] if no_decay else []
    return map_with_path(lambda path, _: select(rules, path, True), params)

  optimizer = lookup(OPTIMIZERS, name, "optimizer")
  update = optimizer(learning_rate, decayed, **settings)
  if clip_norm == 0:
    return update
  return optax.chain(optax.clip_by_global_norm(clip_norm), update)

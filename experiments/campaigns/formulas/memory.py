"""Averages and sums of an optimizer, and the form of most formulas."""

import collections
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np


class Memory(collections.defaultdict):
  """Averages and sums of an optimizer, 0 before the first update."""

  def __init__(self):
    super().__init__(float)


def decoupled(direction: Callable[..., Any], weight_decay: float = 0.0):
  """Returns the formula `-rate * (direction + decay * w)`.

  Args:
    direction: `(s, g, w, t, **settings)` of one array, with its memory s.
    weight_decay: the default.
  """

  def formula(memory, gradients, weights, t, rate, decayed, **settings):
    decay = settings.pop("weight_decay", weight_decay)
    changes = {}
    for path, g in gradients.items():
      w, s = weights[path], of_path(memory, path)
      u = direction(s, g, w, t, **settings)
      changes[path] = -rate * (u + (decay * w if path in decayed else 0.0))
    return changes

  parameters = inspect.signature(direction).parameters.values()
  own = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
  added = inspect.Parameter(
    "weight_decay", inspect.Parameter.KEYWORD_ONLY, default=weight_decay
  )
  formula.__dict__["__signature__"] = inspect.Signature([*own, added])
  return formula


def of_path(memory: Memory, path: str) -> Memory:
  """Returns the memory of one array."""
  return memory.setdefault(path, Memory())


def norm(x) -> float:
  """Returns the Euclidean norm of all entries."""
  return np.sqrt(np.sum(np.square(x)))


def rms(x) -> float:
  """Returns the root mean square of all entries."""
  return np.sqrt(np.mean(np.square(x)))


def average(s: Memory, name: str, x, b):
  """Updates and returns the exponential moving average with decay b."""
  s[name] = b * s[name] + (1 - b) * x
  return s[name]

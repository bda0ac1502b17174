"""What the settings of optimizers and schedules may be."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore.errors import UserError


class Range(NamedTuple):
  """The values that a setting may have, in words and as a test."""

  words: str
  holds: Callable[[Any], bool]


NOT_NEGATIVE = Range(">= 0", lambda x: 0 <= x < math.inf)
POSITIVE = Range("above 0", lambda x: 0 < x < math.inf)
COUNT = Range(">= 1", lambda x: 1 <= x < math.inf)
SHARE = Range("from 0 to 1", lambda x: 0 <= x <= 1)
# The arithmetic is float32, where 0.99999999 is 1.
DECAY = Range(
  "from 0 to below 1 (in float32)",
  lambda x: 0 <= x < 1 and float(np.float32(x)) < 1,
)
# The norm of a gradient is at most 2e19, or its square would be infinite: what
# is divided by 1e-16 stays finite, even a long average by a short one.
DIVISOR = Range("of at least 1e-16", lambda x: 1e-16 <= x < math.inf)


def check(
  section: str, settings: Mapping[str, Any], ranges: Mapping[str, Range]
) -> None:
  """Refuses what is out of range; what is traced, or has no range, passes.

  Raises:
    UserError: names the setting, its range and its value.
  """
  for name, value in settings.items():
    if name not in ranges or isinstance(value, jax.Array):
      continue
    if not ranges[name].holds(value):
      raise UserError(
        f"expected {section}.{name} {ranges[name].words}", f"got {value!r}"
      )


def check_pattern(setting: str, pattern: Any) -> None:
  """Refuses what is no regular expression.

  Raises:
    UserError: names the setting and what is wrong with the pattern.
  """
  try:
    re.compile(pattern)
  except (re.error, TypeError) as error:
    raise UserError(
      f"expected {setting} to be a regular expression",
      f"got {pattern!r}: {error}",
    ) from error

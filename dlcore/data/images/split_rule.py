"""The rule that splits listed images, from cells of their table."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlcore.data.images.listing import Item
from dlcore.data.split_settings import SplitSettings
from dlcore.errors import UserError


def split_rule(
  items: Sequence[Item], settings: SplitSettings
) -> dict[str, Any]:
  """Returns the keyword arguments of `split.make_splits` that decide splits.

  Args:
    items: the images of train.
    settings: of the data set.

  Raises:
    UserError: a time is neither a number nor a date.
  """
  rule = settings.arguments()
  if settings.group:
    rule["groups"] = [item.columns[0] for item in items]
  if settings.time:
    rule["times"] = _times([item.columns[1] for item in items])
  if settings.split:
    rule["assigned"] = [item.columns[2] for item in items]
  return rule


def _times(cells: Sequence[str]) -> np.ndarray:
  """Returns numbers or dates in text, float64 or datetime64 `[N]`."""
  for dtype in ("float64", "datetime64[us]"):
    try:
      return np.array(cells).astype(dtype)
    except ValueError:
      continue
  raise UserError(
    "expected numbers or dates such as 2024-05-31 in the column of times",
    f"got {next(iter(cells), '')!r:.80} in the first row",
    "convert the column",
  )

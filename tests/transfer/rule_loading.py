"""Loads arrays by name rules alone, without the checks of `load_pretrained`."""

from typing import NamedTuple

import numpy as np

from dlcore.transfer.families import name_rules


class Loaded(NamedTuple):
  """The model's arrays and the names that were not used."""

  arrays: dict[str, np.ndarray]
  """By path."""

  names: dict[str, str]
  """Published name of each array, by path."""

  missing: list[str]
  """Paths without a published array."""

  unused: list[str]
  """Published names without a path in the model."""


def load(rules, published, paths):
  """Returns the arrays of `paths` from published arrays by name."""
  plan = name_rules.assign(rules, published, paths)
  arrays, names = {}, {}
  for read in plan.reads:
    pieces = read.layout.load(published[read.name])
    arrays.update(zip(read.paths, pieces, strict=True))
    names.update(dict.fromkeys(read.paths, read.name))
  return Loaded(arrays, names, plan.missing, plan.unused)

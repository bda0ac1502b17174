"""Published names of parameters and ours: one table for both directions.

A family of models has a list of rules, from which weights are read and
written alike. So what is loaded can be exported, bit for bit.
"""

import functools
import re
from collections.abc import (
  Callable,
  Collection,
  Iterable,
  Iterator,
  Mapping,
  Sequence,
)
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
  """How a published array and ours hold the same numbers."""

  load: Callable[[np.ndarray], tuple[np.ndarray, ...]]
  """One published array to one or several of ours."""

  save: Callable[[Sequence[np.ndarray]], np.ndarray]
  """The way back, with the same bits."""


def permuted(*axes: int) -> Layout:
  """Returns the layout of an array whose axes are in another order.

  Args:
    *axes: of the published array, in our order.
  """
  back = tuple(int(axis) for axis in np.argsort(axes))
  return Layout(
    lambda array: (array.transpose(axes),),
    lambda arrays: arrays[0].transpose(back),
  )


def fused(parts: int, axis: int, each: Layout | None = None) -> Layout:
  """Returns the layout of an array that holds several of ours in a row.

  Args:
    parts: how many.
    axis: of the published array, along which they follow one another.
    each: the layout of a part.
  """
  each = each or SAME
  return Layout(
    lambda array: tuple(
      each.load(part)[0] for part in np.split(array, parts, axis)
    ),
    lambda arrays: np.concatenate(
      [each.save([array]) for array in arrays], axis
    ),
  )


def flattened(rows: int, columns: int) -> Layout:
  """Returns the layout of a dense kernel that sees whole images in a row.

  PyTorch's rows are channels first, `[out, C * Y * X]`, ours channels last,
  `[Y * X * C, out]`.

  Args:
    rows: of the image.
    columns: of the image.
  """

  def load(array):
    images = array.reshape(len(array), -1, rows, columns)
    return (images.transpose(2, 3, 1, 0).reshape(-1, len(array)),)

  def save(arrays):
    images = arrays[0].reshape(rows, columns, -1, arrays[0].shape[1])
    return images.transpose(3, 2, 0, 1).reshape(arrays[0].shape[1], -1)

  return Layout(load, save)


SAME = Layout(lambda array: (array,), lambda arrays: arrays[0])
DENSE = permuted(1, 0)
"""`[out, in]` of PyTorch's Linear to `[in, out]`."""

CONV = permuted(2, 3, 1, 0)
"""`[out, in, Y, X]` of PyTorch's Conv2d to `[Y, X, in, out]`."""


class Rule(NamedTuple):
  """Which published array is which of ours.

  `{i}` in a name stands for a whole number, the same one on both sides, and
  `{i+1}` for the one after it.
  """

  theirs: str
  """Such as `"layer{i+1}.{j}.conv1.weight"`."""

  ours: str | tuple[str, ...]
  """Path in the variables, `"params/stage_{i}_block_{j}/conv_0/kernel"`;
  several where the layout is `fused`."""

  layout: Layout = SAME

  @property
  def paths(self) -> tuple[str, ...]:
    """All paths of ours."""
    return (self.ours,) if isinstance(self.ours, str) else self.ours


class Plan(NamedTuple):
  """Which published arrays are to be read, and for what."""

  reads: list[tuple[str, tuple[str, ...], Layout]]
  """The published name, our paths, and how the first becomes the others."""

  missing: list[str]
  """Our paths for which nothing was published."""

  unused: list[str]
  """Published names that are none of ours."""


class Loaded(NamedTuple):
  """What became of published arrays."""

  arrays: dict[str, np.ndarray]
  """Ours, by path."""

  names: dict[str, str]
  """The published name from which each came, by path."""

  missing: list[str]
  """Our paths for which nothing was published."""

  unused: list[str]
  """Published names that are none of ours."""


def plan(
  rules: Sequence[Rule], published: Collection[str], wanted: Iterable[str]
) -> Plan:
  """Returns what is to be read, by names alone: `load` without the arrays.

  Args:
    rules: of the family of models; of several that fit, the first that finds
      its published array counts.
    published: the names.
    wanted: our paths.
  """
  reads: dict[str, tuple[str, tuple[str, ...], Layout]] = {}
  found: set[str] = set()
  missing = []
  for path in wanted:
    if path in found:
      continue
    for rule, numbers in _fitting(rules, path):
      name = fill(rule.theirs, numbers)
      if name in published:
        paths = tuple(fill(template, numbers) for template in rule.paths)
        reads[paths[0]] = (name, paths, rule.layout)
        found.update(paths)
        break
    else:
      missing.append(path)
  used = {name for name, _, _ in reads.values()}
  unused = [name for name in published if name not in used]
  return Plan(list(reads.values()), missing, unused)


def load(
  rules: Sequence[Rule],
  published: Mapping[str, np.ndarray],
  wanted: Iterable[str],
) -> Loaded:
  """Returns our arrays from published ones; shapes are not looked at.

  Args:
    rules: of the family of models; of several that fit, the first that finds
      its published array counts.
    published: arrays by published name. Only those that are taken are read.
    wanted: our paths.
  """
  arrays: dict[str, np.ndarray] = {}
  names: dict[str, str] = {}
  reads, missing, unused = plan(rules, published, wanted)
  for name, paths, layout in reads:
    arrays.update(zip(paths, layout.load(published[name]), strict=True))
    names.update(dict.fromkeys(paths, name))
  return Loaded(arrays, names, missing, unused)


def save(
  rules: Sequence[Rule], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns the published arrays from ours: the inverse of `load`.

  Args:
    rules: of the family of models; the first that fits a path counts.
    arrays: ours, by path.

  Raises:
    ValueError: no rule is about one of them.
  """
  published: dict[str, np.ndarray] = {}
  for path in arrays:
    fitting = next(_fitting(rules, path), None)
    if fitting is None:
      raise ValueError(f"no published name is known for {path}")
    rule, numbers = fitting
    name = fill(rule.theirs, numbers)
    if name not in published:
      parts = [arrays[fill(template, numbers)] for template in rule.paths]
      published[name] = np.ascontiguousarray(rule.layout.save(parts))
  return published


def names(rules: Sequence[Rule], path: str) -> list[str]:
  """Returns the names under which one of our paths may be published."""
  return [fill(rule.theirs, numbers) for rule, numbers in _fitting(rules, path)]


def paths(rules: Sequence[Rule], name: str) -> list[str]:
  """Returns our paths of what is published as `name`, in any model."""
  found = []
  for rule in rules:
    numbers = match(rule.theirs, name)
    if numbers is not None:
      found += [fill(template, numbers) for template in rule.paths]
  return found


def match(template: str, name: str) -> dict[str, int] | None:
  """Returns the numbers with which `fill(template, numbers)` is `name`.

  None where there are none, or where they are written as no number is, as 01.
  """
  found = _compiled(template).fullmatch(name)
  if found is None:
    return None
  numbers: dict[str, int] = {}
  for group, text in found.groupdict().items():
    key, _, offset = group.partition("_")
    value = int(text) - int(offset or 0)
    if numbers.setdefault(key, value) != value:
      return None
  return numbers if fill(template, numbers) == name else None


def fill(template: str, numbers: Mapping[str, int]) -> str:
  """Puts numbers in the places of a template."""

  def put(place: re.Match) -> str:
    return str(numbers[place["key"]] + int(place["offset"] or 0))

  return PLACE.sub(put, template)


PLACE = re.compile(r"\{(?P<key>[a-z]+)(\+(?P<offset>\d+))?\}")


def _fitting(
  rules: Sequence[Rule], path: str
) -> Iterator[tuple[Rule, dict[str, int]]]:
  """Yields the rules that are about one of our paths, and the numbers."""
  for rule in rules:
    for template in rule.paths:
      numbers = match(template, path)
      if numbers is not None:
        yield rule, numbers
        break


@functools.cache
def _compiled(template: str) -> re.Pattern:
  """Returns the regex of a template."""
  pattern, end, seen = "", 0, set()
  for place in PLACE.finditer(template):
    pattern += re.escape(template[end : place.start()])
    group = f"{place['key']}_{place['offset'] or 0}"
    pattern += rf"(?P={group})" if group in seen else rf"(?P<{group}>\d+)"
    seen.add(group)
    end = place.end()
  return re.compile(pattern + re.escape(template[end:]))

"""Rules that map published parameter names to a model's paths, and the reverse.

Each family has one list of rules for both directions, so weights that were
loaded are saved again bit for bit.
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
  """Conversion between a published array and one or several of the model's."""

  load: Callable[[np.ndarray], tuple[np.ndarray, ...]]
  """`(published array) -> the model's arrays`."""

  save: Callable[[Sequence[np.ndarray]], np.ndarray]
  """`(the model's arrays) -> published array`, the exact inverse of `load`."""


def permuted(*axes: int) -> Layout:
  """Returns the layout of an array with its axes in another order.

  Args:
    *axes: axes of the published array, in the model's order.
  """
  inverse = tuple(int(axis) for axis in np.argsort(axes))
  return Layout(
    lambda array: (array.transpose(axes),),
    lambda arrays: arrays[0].transpose(inverse),
  )


def fused(count: int, axis: int, each: Layout | None = None) -> Layout:
  """Returns the layout of an array that concatenates several of the model's.

  Args:
    count: number of the model's arrays.
    axis: axis of the published array along which they are concatenated.
    each: layout of one of them.
  """
  each = each or SAME
  return Layout(
    lambda array: tuple(
      each.load(piece)[0] for piece in np.split(array, count, axis)
    ),
    lambda arrays: np.concatenate(
      [each.save([array]) for array in arrays], axis
    ),
  )


def flattened(rows: int, columns: int) -> Layout:
  """Returns the layout of a dense kernel whose input is a flattened image.

  PyTorch flattens channels first, `[out, C * Y * X]`; we flatten channels
  last, `[Y * X * C, out]`.

  Args:
    rows: rows Y of the image.
    columns: columns X of the image.
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
  """Pair of name templates for one published array.

  `{i}` in a template stands for an integer that is equal on both sides, and
  `{i+1}` for its successor.
  """

  published: str
  """Template such as `"layer{i+1}.{j}.conv1.weight"`."""

  path: str | tuple[str, ...]
  """Template of a path such as `"params/stage_{i}_block_{j}/conv_0/kernel"`;
  several if the layout is `fused`."""

  layout: Layout = SAME

  @property
  def paths(self) -> tuple[str, ...]:
    """All templates of the model's paths."""
    return (self.path,) if isinstance(self.path, str) else self.path


class Read(NamedTuple):
  """One published array to read."""

  name: str
  """Published name."""

  paths: tuple[str, ...]
  """Paths of the model's arrays that it contains."""

  layout: Layout


class Assignment(NamedTuple):
  """Assignment of published arrays to the model's paths."""

  reads: list[Read]

  missing: list[str]
  """The model's paths without a published array."""

  unused: list[str]
  """Published names without a path in the model."""


def assign(
  rules: Sequence[Rule], published: Collection[str], paths: Iterable[str]
) -> Assignment:
  """Assigns published names to the model's paths, without reading an array.

  Args:
    rules: rules of the family. If several match a path, the first one whose
      published name exists applies.
    published: published names.
    paths: the model's paths.
  """
  reads: dict[str, Read] = {}
  assigned: set[str] = set()
  missing = []
  for path in paths:
    if path in assigned:
      continue
    for rule, indices in _matching(rules, path):
      name = fill(rule.published, indices)
      if name in published:
        read = Read(
          name,
          tuple(fill(template, indices) for template in rule.paths),
          rule.layout,
        )
        reads[read.paths[0]] = read
        assigned.update(read.paths)
        break
    else:
      missing.append(path)
  used = {read.name for read in reads.values()}
  unused = [name for name in published if name not in used]
  return Assignment(list(reads.values()), missing, unused)


def save(
  rules: Sequence[Rule], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns the published arrays by name.

  Args:
    rules: rules of the family. The first one that matches a path applies.
    arrays: the model's arrays by path.

  Raises:
    ValueError: no rule matches one of the paths.
  """
  published: dict[str, np.ndarray] = {}
  for path in arrays:
    first = next(_matching(rules, path), None)
    if first is None:
      raise ValueError(f"{path} has no published name")
    rule, indices = first
    name = fill(rule.published, indices)
    if name not in published:
      pieces = [arrays[fill(template, indices)] for template in rule.paths]
      published[name] = np.ascontiguousarray(rule.layout.save(pieces))
  return published


def read_of(rules: Sequence[Rule], path: str) -> Read | None:
  """Returns the published array of a path in `save`, None without a rule."""
  first = next(_matching(rules, path), None)
  if first is None:
    return None
  rule, indices = first
  paths = tuple(fill(template, indices) for template in rule.paths)
  return Read(fill(rule.published, indices), paths, rule.layout)


def names(rules: Sequence[Rule], path: str) -> list[str]:
  """Returns the possible published names of a path of the model."""
  return [
    fill(rule.published, indices) for rule, indices in _matching(rules, path)
  ]


def paths(rules: Sequence[Rule], name: str) -> list[str]:
  """Returns the paths of a published name, in any model of the family."""
  matching = ((rule, match(rule.published, name)) for rule in rules)
  return [
    fill(template, indices)
    for rule, indices in matching
    if indices is not None
    for template in rule.paths
  ]


def match(template: str, name: str) -> dict[str, int] | None:
  """Returns the integers with which `fill(template, indices)` is `name`.

  None without a match. Integers with leading zeros, as 01, do not match.
  """
  groups = _compiled(template).fullmatch(name)
  if groups is None:
    return None
  indices: dict[str, int] = {}
  for group, digits in groups.groupdict().items():
    key, _, offset = group.partition("_")
    value = int(digits) - int(offset or 0)
    if indices.setdefault(key, value) != value:
      return None
  return indices if fill(template, indices) == name else None


def fill(template: str, indices: Mapping[str, int]) -> str:
  """Returns a template with its placeholders replaced by integers."""

  def digits(placeholder: re.Match) -> str:
    return str(indices[placeholder["key"]] + int(placeholder["offset"] or 0))

  return PLACEHOLDER.sub(digits, template)


PLACEHOLDER = re.compile(r"\{(?P<key>[a-z]+)(\+(?P<offset>\d+))?\}")


def _matching(
  rules: Sequence[Rule], path: str
) -> Iterator[tuple[Rule, dict[str, int]]]:
  """Yields the rules that match a path of the model, and their integers."""
  for rule in rules:
    for template in rule.paths:
      indices = match(template, path)
      if indices is not None:
        yield rule, indices
        break


@functools.cache
def _compiled(template: str) -> re.Pattern:
  """Returns the regular expression of a template."""
  pattern, end, groups = "", 0, set()
  for placeholder in PLACEHOLDER.finditer(template):
    pattern += re.escape(template[end : placeholder.start()])
    group = f"{placeholder['key']}_{placeholder['offset'] or 0}"
    pattern += rf"(?P={group})" if group in groups else rf"(?P<{group}>\d+)"
    groups.add(group)
    end = placeholder.end()
  return re.compile(pattern + re.escape(template[end:]))

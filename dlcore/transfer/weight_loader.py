"""One load of weights: the plan, the arrays and the report."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer import (
  array_checks,
  load_errors,
  published_json,
  vocabulary_rows,
)
from dlcore.transfer.allow_pattern import is_allowed
from dlcore.transfer.families import name_rules
from dlcore.transfer.families.config_fields import UNSUPPORTED
from dlcore.transfer.load_errors import Misshapen
from dlcore.transfer.load_report import Report, nearest_names
from dlcore.transfer.published_json import PublishedJson
from dlcore.transfer.selection import SelectedFamily, source_names
from dlcore.transfer.stacked_blocks import LeafSlice


class WeightLoader:
  """Plan of one load, and the outcome for each array.

  Call `check_names`, then `skip_head` or `skip_mismatched_head`, then exhaust
  `read`, which sets `matched`, `reshaped` and `missing`, and only then
  `check_duplicates` and `report`.

  Attributes:
    reads: published arrays to read, under the names of the rules.
    source_names: names in the source by the names of the rules.
    slices: arrays of the model by path.
    matched, reshaped, reinitialized, missing, skipped, unused: see `Report`.
    duplicates: path of each further published name of a shared array.
  """

  def __init__(
    self,
    source: str,
    selected: SelectedFamily,
    slices: Mapping[str, LeafSlice],
    names: Collection[str],
    allow: str,
  ):
    """Plans the load from names alone; no array is read.

    Args:
      source: where the weights come from, for the report.
      selected: the family of the source and its name rules for the model.
      slices: arrays of the model by path.
      names: published names.
      allow: see `load_pretrained`.
    """
    self.source, self.selected, self.slices = source, selected, slices
    self.allow = allow
    self.source_names = source_names(selected, names)
    plan = name_rules.assign(selected.rules, self.source_names, slices)
    self.reads = plan.reads
    self.matched: dict[str, str] = {}
    self.reshaped: dict[str, str] = {}
    optional = filter(self._is_optional, plan.missing)
    self.reinitialized = dict.fromkeys(optional, "not published")
    self.missing = [
      path for path in plan.missing if path not in self.reinitialized
    ]
    self._classify_unused(plan, names)

  def _classify_unused(
    self, plan: name_rules.Assignment, names: Collection[str]
  ) -> None:
    """Sets `duplicates`, `skipped` and `unused`."""
    rules, ignored = self.selected.rules, self.selected.family.ignored
    assigned = {path for read in plan.reads for path in read.paths}
    self.duplicates: dict[str, str] = {}
    self.skipped: list[str] = []
    unused = set()
    for name in plan.unused:
      paths, source = name_rules.paths(rules, name), self.source_names[name]
      if paths and assigned.issuperset(paths):
        self.duplicates[source] = paths[0]
      if paths and all(map(self._is_optional, paths)):
        self.skipped.append(source)
      elif source not in self.duplicates:
        unused.add(source)
    self.unused = [
      name
      for name in names
      if name in unused and not (ignored and re.search(ignored, name))
    ]

  def skip_head(self) -> None:
    """Keeps the initialization of the head, even if the source has one."""
    heads = filter(self._is_head, self.slices)
    self.reinitialized |= dict.fromkeys(heads, "as requested")

  def skip_mismatched_head(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Keeps the initialization of each head layer with a differing shape."""
    for read in self.reads:
      if not any(map(self._is_head, read.paths)):
        continue
      name = self.source_names[read.name]
      try:
        pieces = array_checks.split(read, arrays[name])
      except ValueError:
        continue  # Reported with the other arrays of the wrong shape.
      for path, piece in zip(read.paths, pieces, strict=True):
        shape = self.slices[path].shape
        if not self._is_head(path) or piece.shape == shape:
          continue
        if self._with_new_tokens(piece, path) is None:
          self.reinitialized[path] = (
            f"{list(piece.shape)} published, {list(shape)} here"
          )
    layers = {
      _layer(path) for path in self.reinitialized if self._is_head(path)
    }
    for path in filter(self._is_head, self.slices):
      if _layer(path) in layers:
        self.reinitialized.setdefault(path, "with the rest of its layer")

  def check_names(self) -> None:
    """Checks that missing and unused names are allowed.

    Raises:
      UserError: one is not; the message has its nearest name.
    """
    missing, unused = (
      [name for name in names if not is_allowed(self.allow, name)]
      for names in (self.missing, self.unused)
    )
    if missing or unused:
      raise load_errors.mismatched_names(
        f"expected the arrays of the model in {self.source}, in the format of "
        f"{self.selected.name}",
        len(self.reads),
        missing,
        unused,
        self._other_names({*missing, *unused}),
        self._hints(),
      )

  def read(
    self, arrays: Mapping[str, np.ndarray], leaves: Mapping[str, Any]
  ) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields `(the model's path, published name, array)`, one array at a time.

    Args:
      arrays: published arrays by name.
      leaves: leaves of the model by path, for their dtypes.

    Raises:
      UserError: the dtype of an array or the shapes of some do not match.
    """
    misshapen: list[Misshapen] = []
    for read in self.reads:
      wanted = [path for path in read.paths if self._is_wanted(path)]
      if not wanted:
        continue
      name = self.source_names[read.name]
      array = arrays[name]
      try:
        pieces = array_checks.split(read, array)
      except ValueError as error:
        for path in wanted:
          self._reject(path, name, array, misshapen, error)
        continue
      for path, piece in zip(read.paths, pieces, strict=True):
        if path not in wanted:
          continue
        dtype = np.dtype(leaves[self.slices[path].leaf].dtype)
        array_checks.check_dtype(name, array.dtype, dtype)
        reshaped = self._reshape(path, name, piece, misshapen)
        if reshaped is not None and not misshapen:
          yield path, name, reshaped
    if misshapen:
      others = self._other_names({array.path for array in misshapen})
      raise load_errors.mismatched_shapes(misshapen, len(self.matched), others)

  def check_duplicates(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Checks that published arrays that share one of the model's are equal.

    Raises:
      UserError: they differ.
    """
    for name, path in self.duplicates.items():
      other = self.matched.get(path, name)
      if not np.array_equal(arrays[name], arrays[other]):
        raise UserError(
          f"expected {quoted(name)} to equal {quoted(other)}, as "
          f"both are {path}",
          "got different values",
          UNSUPPORTED,
        )

  def _reshape(
    self, path: str, name: str, array: np.ndarray, misshapen: list[Misshapen]
  ) -> np.ndarray | None:
    """Returns the array in the model's shape, None if that is impossible."""
    shape = self.slices[path].shape
    if (extended := self._with_new_tokens(array, path)) is not None:
      self.matched[path] = name
      self.reshaped[path] = (
        f"{list(array.shape)} to {list(shape)}: new tokens begin with the mean"
      )
      return extended
    try:
      array, note = array_checks.reshape(
        array, path, shape, self.selected.family.resize
      )
    except ValueError as error:
      self._reject(path, name, array, misshapen, error)
      return None
    self.matched[path] = name
    if note:
      self.reshaped[path] = note
    return array

  def _with_new_tokens(self, array: np.ndarray, path: str) -> np.ndarray | None:
    """Returns the array with rows of new tokens, or None without new tokens.

    `allow` must match "model.vocab_size".
    """
    if not is_allowed(self.allow, "model.vocab_size"):
      return None
    return vocabulary_rows.extend(array, path, self.slices[path].shape)

  def _reject(
    self,
    path: str,
    name: str,
    array: np.ndarray,
    misshapen: list[Misshapen],
    error: ValueError,
  ) -> None:
    """Adds a path to `missing` if `allow` matches it, else to `misshapen`."""
    if is_allowed(self.allow, path):
      self.missing.append(path)
      return
    shape = self.slices[path].shape
    misshapen.append(Misshapen(path, shape, name, array.shape, str(error)))

  def report(
    self, published: PublishedJson, differing: Mapping[str, str]
  ) -> Report:
    """Returns the report.

    Args:
      published: the JSON files that came with the weights.
      differing: see `Report`.
    """
    if any(map(self._is_head, self.reinitialized)):
      published = published_json.without_labels(published)
    return Report(
      source=self.source,
      family=self.selected.name,
      matched=self.matched,
      reshaped=self.reshaped,
      reinitialized=self.reinitialized,
      differing=differing,
      missing=tuple(self.missing),
      unused=tuple(self.unused),
      skipped=tuple(self.skipped),
      hints=self._hints(),
      published=published,
    )

  def _hints(self) -> dict[str, str]:
    """Returns `Report.hints`."""
    expected = {}
    for path in self.missing:
      if names := name_rules.names(self.selected.rules, path):
        expected[path] = names[0]
    return nearest_names(expected, self.unused)

  def _other_names(self, names: Collection[str]) -> list[str]:
    """Returns all paths and published names other than `names`."""
    every = (*self.slices, *self.source_names.values())
    return [name for name in every if name not in names]

  def _is_wanted(self, path: str) -> bool:
    return path in self.slices and path not in self.reinitialized

  def _is_optional(self, path: str) -> bool:
    pattern = self.selected.family.optional
    matches = bool(pattern and re.search(pattern, path))
    return matches or self._is_head(path)

  def _is_head(self, path: str) -> bool:
    return bool(re.search(self.selected.family.output_layer, path))


def _layer(path: str) -> str:
  return path.rsplit("/", 1)[0]

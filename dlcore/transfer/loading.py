"""One load of weights: the plan, the arrays and the report."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import array_checks, published_json
from dlcore.transfer.config_checks import is_allowed
from dlcore.transfer.families import name_rules
from dlcore.transfer.families.config_fields import UNSUPPORTED
from dlcore.transfer.io import files
from dlcore.transfer.load_report import Report, nearest_names
from dlcore.transfer.published_json import Published
from dlcore.transfer.selection import Naming, source_names
from dlcore.transfer.stacked_blocks import Slot


class Loading:
  """Plan of one load, and the outcome for each array.

  Attributes:
    reads: published arrays to read, under the names of the rules.
    source_names: names in the source by the names of the rules.
    slots: arrays of the model by path.
    matched, reshaped, differing, reinitialized, missing, skipped, unused: see
      `Report`.
    duplicates: path of each further published name of a shared array.
  """

  def __init__(
    self,
    source: str,
    naming: Naming,
    slots: Mapping[str, Slot],
    names: Collection[str],
  ):
    """Plans the load from names alone; no array is read.

    Args:
      source: where the weights come from, for the report.
      naming: the family of the source and its name rules for the model.
      slots: arrays of the model by path.
      names: published names.
    """
    self.source, self.naming, self.slots = source, naming, slots
    self.source_names = source_names(naming, names)
    plan = name_rules.plan(naming.rules, self.source_names, slots)
    self.reads = plan.reads
    self.matched: dict[str, str] = {}
    self.reshaped: dict[str, str] = {}
    self.differing: dict[str, str] = {}
    optional = filter(self._is_optional, plan.missing)
    self.reinitialized = dict.fromkeys(optional, "not published")
    self.missing = [
      path for path in plan.missing if path not in self.reinitialized
    ]
    self._classify_unused(plan, names)

  def _classify_unused(
    self, plan: name_rules.Plan, names: Collection[str]
  ) -> None:
    """Sets `duplicates`, `skipped` and `unused`."""
    rules, ignored = self.naming.rules, self.naming.family.ignored
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
    heads = filter(self._is_head, self.slots)
    self.reinitialized |= dict.fromkeys(heads, "as requested")

  def skip_mismatched_head(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Keeps the initialization of each head layer with a differing shape."""
    for read in self.reads:
      if not any(map(self._is_head, read.paths)):
        continue
      name = self.source_names[read.name]
      pieces = array_checks.split(read, name, arrays[name])
      for path, piece in zip(read.paths, pieces, strict=True):
        if self._is_head(path) and piece.shape != self.slots[path].shape:
          shape = list(self.slots[path].shape)
          self.reinitialized[path] = (
            f"{list(piece.shape)} published, {shape} here"
          )
    layers = {
      _layer(path) for path in self.reinitialized if self._is_head(path)
    }
    for path in filter(self._is_head, self.slots):
      if _layer(path) in layers:
        self.reinitialized.setdefault(path, "with the rest of its layer")

  def check_names(self, allow: str) -> None:
    """Checks that missing and unused names are allowed.

    Args:
      allow: see `load_pretrained`.

    Raises:
      UserError: one is not; the message has its nearest name.
    """
    problems = [
      (problem, name)
      for problem, names in (("missing", self.missing), ("unused", self.unused))
      for name in names
      if not is_allowed(allow, name)
    ]
    if problems:
      raise self._mismatch(problems)

  def read(
    self,
    arrays: Mapping[str, np.ndarray],
    leaves: Mapping[str, Any],
    allow: str,
  ) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields `(the model's path, published name, array)`, one array at a time.

    Args:
      arrays: published arrays by name.
      leaves: leaves of the model by path, for their dtypes.
      allow: see `load_pretrained`.

    Raises:
      UserError: the dtype or the shape of an array does not match.
    """
    for read in self.reads:
      if all(path in self.reinitialized for path in read.paths):
        continue
      name = self.source_names[read.name]
      array = arrays[name]
      pieces = array_checks.split(read, name, array)
      for path, piece in zip(read.paths, pieces, strict=True):
        if path not in self.slots or path in self.reinitialized:
          continue
        dtype = np.dtype(leaves[self.slots[path].leaf].dtype)
        array_checks.check_dtype(name, array.dtype, dtype)
        reshaped = self._reshape(path, name, piece, allow)
        if reshaped is not None:
          yield path, name, reshaped

  def check_duplicates(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Checks that published arrays that share one of the model's are equal.

    Raises:
      UserError: they differ.
    """
    for name, path in self.duplicates.items():
      other = self.matched.get(path, name)
      if not np.array_equal(arrays[name], arrays[other]):
        raise UserError(
          f"expected {files.quoted(name)} to equal {files.quoted(other)}, as "
          f"both are {path}",
          "got different values",
          UNSUPPORTED,
        )

  def _reshape(
    self, path: str, name: str, array: np.ndarray, allow: str
  ) -> np.ndarray | None:
    """Returns the array in the model's shape, None if it is not loaded."""
    shape = self.slots[path].shape
    try:
      array, note = array_checks.reshape(
        array, path, shape, self.naming.family.resize
      )
    except ValueError as error:
      if is_allowed(allow, path):
        self.missing.append(path)
        return None
      raise UserError(
        f"expected the shape {list(shape)} of {path}",
        f"got {list(array.shape)} of the published {files.quoted(name)}"
        + (f": {error}" if str(error) else ""),
        "change the model, or keep the initialization: "
        f"{_allow_argument([path])}",
      ) from error
    self.matched[path] = name
    if note:
      self.reshaped[path] = note
    return array

  def report(self, published: Published) -> Report:
    """Returns the report.

    Args:
      published: the JSON files that came with the weights.
    """
    if any(map(self._is_head, self.reinitialized)):
      published = published_json.without_labels(published)
    return Report(
      source=self.source,
      family=self.naming.name,
      matched=self.matched,
      reshaped=self.reshaped,
      reinitialized=self.reinitialized,
      differing=self.differing,
      missing=tuple(self.missing),
      unused=tuple(self.unused),
      skipped=tuple(self.skipped),
      hints=self._hints(),
      published=published,
    )

  def _hints(self) -> dict[str, str]:
    expected = {}
    for path in self.missing:
      if names := name_rules.names(self.naming.rules, path):
        expected[path] = names[0]
    return nearest_names(expected, self.unused)

  def _mismatch(self, problems: Sequence[tuple[str, str]]) -> UserError:
    hints = self._hints()
    lines = []
    for problem, name in problems[:2]:
      hint = f" (nearest: {files.quoted(hints[name])})" if name in hints else ""
      lines.append(f"{problem} {files.quoted(name)}{hint}")
    if problems[2:]:
      lines.append(f"{len(problems) - 2} more")
    return UserError(
      f"expected the arrays of the model in {self.source}, in the format of "
      f"{self.naming.name}",
      f"got {len(self.reads)} that match; {'; '.join(lines)}",
      "choose other weights, or pass "
      f"{_allow_argument([name for _, name in problems])}",
    )

  def _is_optional(self, path: str) -> bool:
    pattern = self.naming.family.optional
    matches = bool(pattern and re.search(pattern, path))
    return matches or self._is_head(path)

  def _is_head(self, path: str) -> bool:
    return bool(re.search(self.naming.family.head, path))


def _layer(path: str) -> str:
  return path.rsplit("/", 1)[0]


def _allow_argument(names: Sequence[str]) -> str:
  """Returns `allow='REGEX'` for these names; for many, a regex of prefixes."""
  plain = [name for name in names if re.fullmatch(r"[\w./-]+", name)]
  patterns = [f"^{re.escape(name)}$" for name in plain]
  if len(patterns) > 2:  # ^cls\. or ^params/pooler/
    starts = (re.match(r"(params/)?[^./]*[./]?", name) for name in plain)
    patterns = sorted({f"^{re.escape(start[0])}" for start in starts if start})
  return f"allow='{'|'.join(patterns[:4])}'"

"""From names to a report: what a load reads, keeps and refuses."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.transfer import files, fitting
from dlcore.transfer import rules as tables
from dlcore.transfer.blocks import Part
from dlcore.transfer.naming import Naming, aliases
from dlcore.transfer.report import Report, nearest


class Loading:
  """One load: what is to be read, and the account of it."""

  def __init__(
    self,
    source: str,
    chosen: Naming,
    parts: Mapping[str, Part],
    names: Collection[str],
  ):
    """Compares names with names; nothing is read yet.

    Args:
      source: where the weights come from, for the report.
      chosen: in whose names they are.
      parts: what the model has, by path.
      names: the published ones.
    """
    self.source, self.naming, self.parts = source, chosen, parts
    self.names = aliases(chosen, names)
    plan = tables.plan(chosen.rules, self.names, parts)
    self.reads = plan.reads
    self.matched: dict[str, str] = {}
    self.reshaped: dict[str, str] = {}
    self.differing: dict[str, str] = {}
    free = filter(self._is_free, plan.missing)
    self.fresh = dict.fromkeys(free, "not published")
    self.missing = [path for path in plan.missing if path not in self.fresh]
    taken = {path for _, paths, _ in plan.reads for path in paths}
    self.twins = {
      self.names[name]: paths[0]
      for name in plan.unused
      if (paths := tables.paths(chosen.rules, name)) and taken.issuperset(paths)
    }
    self.spare = [self.names[n] for n in plan.unused if self._is_spare(n)]
    unused = {self.names[name] for name in plan.unused}
    unused -= {*self.spare, *self.twins}
    ignored = chosen.family.ignored
    self.unused = [
      name
      for name in names
      if name in unused and not (ignored and re.search(ignored, name))
    ]

  def leave_head(self) -> None:
    """Takes no part of the head, even if it is published."""
    heads = filter(self._is_head, self.parts)
    self.fresh |= dict.fromkeys(heads, "as asked")

  def fit_head(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Leaves a layer of the head as it was drawn if a part of it misfits."""
    for canonical, paths, layout in self.reads:
      if not any(map(self._is_head, paths)):
        continue
      name = self.names[canonical]
      found = fitting.laid_out(name, arrays[name], layout, len(paths))
      for path, array in zip(paths, found, strict=True):
        if self._is_head(path) and array.shape != self.parts[path].shape:
          wanted = list(self.parts[path].shape)
          self.fresh[path] = f"{list(array.shape)} published, {wanted} here"
    layers = {_layer(path) for path in self.fresh if self._is_head(path)}
    for path in filter(self._is_head, self.parts):
      if _layer(path) in layers:
        self.fresh.setdefault(path, "with the rest of its layer")

  def check(self, allow: str) -> None:
    """Refuses what is missing or unused and not allowed.

    Raises:
      UserError: tells the first of them, with the nearest name.
    """
    told = []
    for what, names in (("missing", self.missing), ("unused", self.unused)):
      bad = [name for name in names if not _is_allowed(allow, name)]
      told += [(what, name) for name in bad]
    if told:
      raise self._unexpected(told)

  def read(
    self,
    arrays: Mapping[str, np.ndarray],
    leaves: Mapping[str, Any],
    allow: str,
  ) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields `(our path, published name, array)`, one after the other.

    Raises:
      UserError: an array does not fit.
    """
    for canonical, paths, layout in self.reads:
      if all(path in self.fresh for path in paths):
        continue
      name = self.names[canonical]
      array = arrays[name]
      found = fitting.laid_out(name, array, layout, len(paths))
      for path, part in zip(paths, found, strict=True):
        if path not in self.parts or path in self.fresh:
          continue
        dtype = np.dtype(leaves[self.parts[path].leaf].dtype)
        fitting.check_kind(name, array.dtype, dtype)
        fitted = self._fit(path, name, part, allow)
        if fitted is not None:
          yield path, name, fitted

  def check_twins(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Checks that arrays of several names hold the same, where we have one.

    Raises:
      UserError: they do not.
    """
    for name, path in self.twins.items():
      other = self.matched.get(path, name)
      if not np.array_equal(arrays[name], arrays[other]):
        raise UserError(
          f"expected {files.shown(name)} to be the same as "
          f"{files.shown(other)}, as {path} is both",
          "got other numbers",
          "such a model is not known here",
        )

  def _fit(
    self, path: str, name: str, array: np.ndarray, allow: str
  ) -> np.ndarray | None:
    """Returns the array in our shape, None where ours stays as it was."""
    shape = self.parts[path].shape
    try:
      array, note = fitting.fitted(
        array, path, shape, self.naming.family.resize
      )
    except ValueError as error:
      if _is_allowed(allow, path):
        self.missing.append(path)
        return None
      raise UserError(
        f"expected the shape {list(shape)} of {path}",
        f"got {list(array.shape)} of the published {files.shown(name)}"
        + (f": {error}" if str(error) else ""),
        f"change the model, or leave ours as it was: {_pattern([path])}",
      ) from error
    self.matched[path] = name
    if note:
      self.reshaped[path] = note
    return array

  def report(self) -> Report:
    """Returns the account."""
    return Report(
      source=self.source,
      family=self.naming.name,
      matched=self.matched,
      reshaped=self.reshaped,
      fresh=self.fresh,
      differing=self.differing,
      missing=tuple(self.missing),
      unused=tuple(self.unused),
      spare=tuple(self.spare),
      hints=self._hints(),
    )

  def _hints(self) -> dict[str, str]:
    expected = {}
    for path in self.missing:
      if names := tables.names(self.naming.rules, path):
        expected[path] = names[0]
    return nearest(expected, self.unused)

  def _unexpected(self, told: Sequence[tuple[str, str]]) -> UserError:
    hints = self._hints()
    texts = []
    for what, name in told[:2]:
      hint = f" (nearest: {files.shown(hints[name])})" if name in hints else ""
      texts.append(f"{what} {files.shown(name)}{hint}")
    if told[2:]:
      texts.append(f"{len(told) - 2} more")
    return UserError(
      f"expected the arrays of the model in {self.source}, in the names of "
      f"{self.naming.name}",
      f"got {len(self.reads)} that fit; {'; '.join(texts)}",
      f"take other weights, or allow it: {_pattern([n for _, n in told])}",
    )

  def _is_spare(self, name: str) -> bool:
    """Tells whether a published name is of what not all models have."""
    paths = tables.paths(self.naming.rules, name)
    return bool(paths) and all(map(self._is_free, paths))

  def _is_free(self, path: str) -> bool:
    optional = self.naming.family.optional
    found = bool(optional) and re.search(optional, path)
    return bool(found) or self._is_head(path)

  def _is_head(self, path: str) -> bool:
    return bool(re.search(self.naming.family.head, path))


def _layer(path: str) -> str:
  """Returns what the arrays of one layer have in common."""
  return path.rsplit("/", 1)[0]


def _is_allowed(allow: str, name: str) -> bool:
  return bool(allow and re.search(allow, name))


def _pattern(names: Sequence[str]) -> str:
  """Returns the setting that would allow these names, wide if they are many."""
  plain = [name for name in names if re.fullmatch(r"[\w./-]+", name)]
  texts = [f"^{re.escape(name)}$" for name in plain]
  if len(texts) > 2:  # ^cls\. or ^params/pooler/
    starts = (re.match(r"(params/)?[^./]*[./]?", name) for name in plain)
    texts = sorted({f"^{re.escape(start[0])}" for start in starts if start})
  return f"allow='{'|'.join(texts[:4])}'"

"""The report of loading weights: every array of the model and of the source."""

import dataclasses
import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore import trees
from dlcore.transfer import stacked_blocks
from dlcore.typing import PyTree

MAX_ROWS = 8
"""Number of names that the table lists per category."""

MAX_CANDIDATES = 400
"""Number of names, and of characters of a name, in the search for the nearest
name, which takes quadratic time."""


@dataclasses.dataclass(frozen=True)
class Report:
  """Result of loading weights; `str(report)` is a table."""

  source: str
  family: str
  """Family of the published names: a key of `FAMILIES`, or "dlcore"."""

  matched: Mapping[str, str]
  """Published name of each of the model's paths that was loaded."""

  reshaped: Mapping[str, str]
  """Loaded paths whose published shape differs, with the change."""

  reinitialized: Mapping[str, str]
  """Paths that keep their initialization, such as the head, with the reason."""

  differing: Mapping[str, str]
  """Fields of the model that differ from config.json, with both values."""

  missing: tuple[str, ...]
  """Other paths without a published array, as `allow` permits."""

  unused: tuple[str, ...]
  """Published names without a path in the model, as `allow` permits."""

  skipped: tuple[str, ...]
  """Published names of another head, or of an optional layer that the model
  lacks."""

  hints: Mapping[str, str]
  """Nearest unused name of a missing path, and the reverse."""

  published: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
  """Content of config.json and generation_config.json in the folder of the
  weights, by file name, for `save_pretrained`; without the class names if the
  head is not loaded. All values are JSON."""

  def __str__(self) -> str:
    """Returns a table with one or more lines for each nonempty category."""
    hints = {key: f"nearest: {name}" for key, name in self.hints.items()}
    count = len(self.matched) + len(self.reinitialized) + len(self.missing)
    lines = [
      ("weights", f"{self.source}, in the format of {self.family}"),
      ("matched", f"{len(self.matched)} of {count} arrays"),
      *_rows("reshaped", self.reshaped, self.reshaped),
      *_rows("initial", self.reinitialized, self.reinitialized),
      *_rows("differing", self.differing, self.differing),
      *_rows("skipped", self.skipped, {}),
      *_rows("missing", self.missing, hints),
      *_rows("unused", self.unused, hints),
    ]
    return "\n".join(f"{title:<10}{text}" for title, text in lines)


def loaded_sha256(variables: PyTree, report: Report) -> str:
  """Returns the SHA-256 of the arrays that were loaded, as hexadecimal digits.

  It depends on the arrays and their paths, not on the format of the source.

  Args:
    variables: of the model, with the loaded arrays.
    report: of the loading.
  """
  arrays = stacked_blocks.unstack(trees.flatten(variables))
  return arrays_sha256({path: arrays[path] for path in report.matched})


def arrays_sha256(arrays: Mapping[str, np.ndarray]) -> str:
  """Returns the SHA-256 of arrays and their paths, as hexadecimal digits."""
  digest = hashlib.sha256()
  for path in sorted(arrays):
    array = np.ascontiguousarray(arrays[path])
    digest.update(f"{path} {array.dtype} {array.shape}\n".encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def _rows(
  title: str, keys: Iterable[str], notes: Mapping[str, str]
) -> list[tuple[str, str]]:
  keys = list(keys)
  rows = [
    f"{key} ({notes[key]})" if notes.get(key) else key
    for key in keys[:MAX_ROWS]
  ]
  if keys[MAX_ROWS:]:
    rows.append(f"and {len(keys) - MAX_ROWS} more")
  titles = [title] + [""] * len(rows)
  return list(zip(titles, rows, strict=False))


def nearest_names(
  missing: Mapping[str, str], unused: Sequence[str]
) -> dict[str, str]:
  """Returns `Report.hints`.

  Args:
    missing: expected published name of each missing path.
    unused: unused published names.
  """
  hints = {}
  paths = {name: path for path, name in missing.items()}
  for path in list(missing)[:MAX_ROWS]:
    if match := _nearest(missing[path], unused):
      hints[path] = match
  for name in unused[:MAX_ROWS]:
    if match := _nearest(name, list(paths)):
      hints[name] = paths[match]
  return hints


def _nearest(name: str, names: Sequence[str]) -> str:
  matches = difflib.get_close_matches(
    name[:MAX_CANDIDATES], names[:MAX_CANDIDATES], n=1
  )
  return matches[0] if matches else ""

"""What became of the arrays of a model and of those that were published."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence

SHOWN = 8
"""How many of a kind a table shows."""

COMPARED = 400
"""Among how many names the nearest is looked for; it takes a while."""


@dataclasses.dataclass(frozen=True)
class Report:
  """The account of one load; `str(report)` is a table."""

  source: str
  family: str
  """In whose names the weights are: a key of `FAMILIES`, or "dlcore"."""

  matched: Mapping[str, str]
  """Our paths that were filled, and the published name."""

  reshaped: Mapping[str, str]
  """Those of them that were of another shape, and what was done."""

  fresh: Mapping[str, str]
  """Paths that stay as they were drawn, of the head, say, and why."""

  differing: Mapping[str, str]
  """Settings that the config.json has otherwise than the model, and both."""

  missing: tuple[str, ...]
  """Other paths that stay as they were, as `allow` permits."""

  unused: tuple[str, ...]
  """Published names that are none of ours, as `allow` permits."""

  spare: tuple[str, ...]
  """Published names of another head, or of what the model may lack."""

  hints: Mapping[str, str]
  """A missing path or an unused name, and the nearest of the others."""

  def __str__(self) -> str:
    """Returns a line for every kind, and more where there is more to say."""
    hints = {key: f"nearest: {name}" for key, name in self.hints.items()}
    count = len(self.matched) + len(self.fresh) + len(self.missing)
    lines = [
      ("weights", f"{self.source}, in the names of {self.family}"),
      ("matched", f"{len(self.matched)} of {count} arrays"),
      *_rows("reshaped", self.reshaped, self.reshaped),
      *_rows("fresh", self.fresh, self.fresh),
      *_rows("differing", self.differing, self.differing),
      *_rows("spare", self.spare, {}),
      *_rows("missing", self.missing, hints),
      *_rows("unused", self.unused, hints),
    ]
    return "\n".join(f"{title:<10}{text}" for title, text in lines)


def _rows(
  title: str, keys: Iterable[str], notes: Mapping[str, str]
) -> list[tuple[str, str]]:
  keys = list(keys)
  texts = [
    f"{key} ({notes[key]})" if notes.get(key) else key for key in keys[:SHOWN]
  ]
  if keys[SHOWN:]:
    texts.append(f"and {len(keys) - SHOWN} more")
  titles = [title] + [""] * len(texts)
  return list(zip(titles, texts, strict=False))


def nearest(
  missing: Mapping[str, str], unused: Sequence[str]
) -> dict[str, str]:
  """Returns the hints.

  Args:
    missing: our paths, and the names under which they would be published.
    unused: published names.
  """
  hints = {}
  expected = {name: path for path, name in missing.items()}
  for path in list(missing)[:SHOWN]:
    if found := _near(missing[path], unused):
      hints[path] = found
  for name in unused[:SHOWN]:
    if found := _near(name, list(expected)):
      hints[name] = expected[found]
  return hints


def _near(name: str, names: Sequence[str]) -> str:
  found = difflib.get_close_matches(name[:COMPARED], names[:COMPARED], n=1)
  return found[0] if found else ""

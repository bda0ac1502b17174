"""The regex `allow` of `load_pretrained`, and suggestions of one in errors."""

import re
from collections.abc import Collection, Iterable, Sequence

MAX_PATTERNS = 4
MAX_LENGTH = 240
"""Limits of a suggestion. A longer one would mean weights of another model."""


PLAIN = re.compile(r"[\w./:+-]+", flags=re.ASCII)
"""Names that a suggestion can contain; those of a file are not trusted."""


def is_allowed(allow: str, name: str) -> bool:
  """Returns whether the regex `allow` of `load_pretrained` matches a name."""
  return bool(allow and re.search(allow, name))


def allow_pattern(names: Collection[str], others: Iterable[str]) -> str:
  """Returns a regex that matches all of `names` and none of `others`.

  One or two names are written out. More are summarized by their narrowest
  prefixes that end after a component, such as `^params/block_3/norm/`.

  Args:
    names: the model's paths and published names.
    others: all other paths and published names.

  Returns:
    The regex for `load_pretrained(allow=)`, "" if it would be too long, or if
    a name has unusual characters.
  """
  if not all(map(PLAIN.fullmatch, names)):
    return ""
  groups = [[name] for name in names]
  if len(names) > 2:
    groups = _groups(names, others)
  patterns = [_pattern(group) for group in groups]
  pattern = "|".join(patterns)
  is_short = len(patterns) <= MAX_PATTERNS and len(pattern) <= MAX_LENGTH
  return pattern if is_short else ""


def _groups(names: Iterable[str], others: Iterable[str]) -> list[list[str]]:
  """Returns the names by their shortest prefix that no other name has."""
  taken = {prefix for name in others for prefix in _prefixes(name)}
  groups: dict[str, list[str]] = {}
  for name in names:
    free = (prefix for prefix in _prefixes(name) if prefix not in taken)
    groups.setdefault(next(free, name), []).append(name)
  return list(groups.values())


def _pattern(group: Sequence[str]) -> str:
  """Returns the regex of one name, or of the longest prefix of several."""
  first, *rest = group
  if not rest:
    return f"^{_escape(first)}$"
  shared = [
    prefix
    for prefix in _prefixes(first)
    if all(name.startswith(prefix) for name in rest)
  ]
  return f"^{_escape(shared[-1])}"


def _prefixes(name: str) -> list[str]:
  """Returns the prefixes that end after a component, the shortest first."""
  return [name[: match.end()] for match in re.finditer(r"[./]", name)]


def _escape(name: str) -> str:
  """Returns a regex without backslashes, which Python and shells interpret."""
  return re.sub(r"[.+]", r"[\g<0>]", name)

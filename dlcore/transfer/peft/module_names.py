"""Names of PyTorch's modules, and PEFT's ways of matching them."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from dlcore.filesystem import quoted

T = TypeVar("T")

MAX_PATTERNS = 4096
MAX_LENGTH = 300
MAX_REPEATED = 16
"""Limit of the number of patterns with `.*` or a group."""

PLAIN = re.compile(r"\^?(?:[\w-]|\\?\.|\\d\+?)+\$?", re.ASCII)
"""A name, in which `.` and digits may be those of a regular expression."""

REPEATED = re.compile(
  r"\^?(?:[\w-]|\\?\.(?!\*)|\\d\+?|\[[\d-]{1,20}\]|\.\*|\([\w.|-]{1,100}\))+\$?",
  re.ASCII,
)


def check_patterns(argument: str, patterns: Collection[str]) -> None:
  """Checks that regular expressions of a file take little time to match.

  Python's matching may take exponential time, so only names with `.`, `\\d`,
  `.*`, character classes and flat groups are accepted.

  Raises:
    ValueError: one is another expression, or there are too many.
  """
  if len(patterns) > MAX_PATTERNS:
    raise ValueError(f"{argument} of {len(patterns):,} patterns")
  repeated = [key for key in patterns if not PLAIN.fullmatch(key[:MAX_LENGTH])]
  for i, key in enumerate(repeated):
    costs = key.count(".*") + 2 * key.count("(")
    if i >= MAX_REPEATED or costs > 4 or not REPEATED.fullmatch(key):
      raise ValueError(f"{argument} with the pattern {quoted(key)}")
  for key in patterns:
    if len(key) > MAX_LENGTH or not _is_valid(key):
      raise ValueError(f"{argument} with the pattern {quoted(key)}")


def _is_valid(pattern: str) -> bool:
  try:
    re.compile(pattern)
  except re.error:
    return False
  return True


def value_of(patterns: Mapping[str, T], module: str, default: T) -> T:
  """Returns the value of the first pattern that matches the end of a name.

  Args:
    patterns: values by regular expression, see `check_patterns`.
    module: name of a module.
    default: value without a match.
  """
  for pattern, value in patterns.items():
    if re.match(rf"(.*\.)?({pattern})$", module):
      return value
  return default


def is_end(end: str, module: str) -> bool:
  """Returns whether a name ends with the complete parts of `end`."""
  return module == end or module.endswith(f".{end}")


def contains(module: str, outer: str) -> bool:
  """Returns whether `outer` is the module or contains it."""
  return module == outer or module.startswith(f"{outer}.")


def targets(chosen: Collection[str], others: Iterable[str]) -> list[str] | str:
  """Returns the `target_modules` that match exactly the chosen names.

  Args:
    chosen: names of modules with an adapter.
    others: names of the other modules.

  Returns:
    A sorted list of the shortest ends of names, or, if a chosen name is the end
    of another module's, a regular expression.
  """
  ends = shortest_ends(chosen, others)
  if ends is not None:
    return ends
  return "|".join(re.escape(name) for name in sorted(chosen))


def shortest_ends(
  chosen: Collection[str], others: Iterable[str]
) -> list[str] | None:
  """Returns the shortest suffixes of names that match no other module.

  Returns:
    The suffixes; None if every suffix of a name matches another module.
  """
  taken = {end for name in others for end in _ends(name)}
  found = set()
  for name in chosen:
    free = [end for end in _ends(name) if end not in taken]
    if not free:
      return None
    found.add(free[0])
  return sorted(found)


def _ends(name: str) -> list[str]:
  """Returns the ends of a name, the shortest first; no number begins one."""
  parts = name.split(".")
  ends = [".".join(parts[i:]) for i in reversed(range(len(parts)))]
  return [end for end in ends if not end.isdigit()]

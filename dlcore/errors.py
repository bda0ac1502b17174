"""Mistakes of the user's, told in at most three lines."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
  """A mistake that the user can mend; the shell prints it without traceback.

  Everything that is not a `UserError` is a bug and keeps its traceback.
  """

  def __init__(self, expected: str, got: str = "", todo: str = ""):
    """Takes the three lines.

    Args:
      expected: what was expected, or what went wrong.
      got: what came instead, with the numbers.
      todo: what the user can do about it.
    """
    self.lines = tuple(line for line in (expected, got, todo) if line)
    super().__init__("\n".join(self.lines))


def nearest(name: str, names: Iterable[str]) -> str:
  """Returns a hint: the nearest of `names`, or all where none is near."""
  names = sorted(names)
  near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
  if near:
    return f"did you mean {near[0]!r}?"
  return f"there are: {', '.join(names)}" if names else "there are none"


def lookup(table: Mapping[str, T], name: str, what: str) -> T:
  """Returns `table[name]`; an unknown name is an error with the nearest one.

  Args:
    table: the literal table that resolves the name.
    name: what the user wrote.
    what: what the table holds, for the message ("model", "optimizer", ...).

  Raises:
    UserError: `name` is not a key of `table`.
  """
  if name not in table:
    raise UserError(
      f"expected the name of a known {what}",
      f"got {name!r}",
      nearest(str(name), table),
    )
  return table[name]

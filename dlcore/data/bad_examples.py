"""Report of the examples of a data set that cannot be read."""

from collections.abc import Iterable, Sequence

from dlcore.errors import UserError, check_choice

ON_BAD = ("error", "skip")

MAX_LISTED = 10
"""Number of examples or classes that a message lists."""


def check_on_bad(on_bad: str) -> None:
  """Checks the setting of the loaders, `"error"` or `"skip"`.

  Raises:
    UserError: it has another value.
  """
  check_choice("on_bad", on_bad, ON_BAD)


def report(
  errors: Sequence[tuple[str, str]],
  on_bad: str,
  *,
  noun: str,
  expected: str,
  remedy: str,
  empty: bool,
) -> list[str]:
  """Returns a note on the skipped examples, if there are any.

  Args:
    errors: pairs (name of the example, reason).
    on_bad: `"error"` or `"skip"`.
    noun: the examples in the message, such as "bad rows".
    expected: first line of the error.
    remedy: last line of the error, which may skip them as well.
    empty: whether skipping leaves a split or a class without examples.

  Raises:
    UserError: `on_bad` is "error", or `empty` is true.
  """
  if not errors:
    return []
  bad = f"{len(errors)} {noun}"
  listed = shorten((f"{name}: {reason}" for name, reason in errors), "; ")
  if on_bad == "error" or empty:
    raise UserError(expected, f"got {bad}: {listed}", remedy)
  return [f"{bad} were skipped: {listed}"]


def shorten(items: Iterable[str], separator: str = ", ") -> str:
  """Returns the first items and the number of the others."""
  items = list(items)
  more = len(items) - MAX_LISTED
  listed = separator.join(items[:MAX_LISTED])
  return f"{listed}{separator}and {more} more" if more > 0 else listed

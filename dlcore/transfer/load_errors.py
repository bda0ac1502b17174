"""Errors of weights that do not match a model, in three lines each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer.allow_pattern import allow_pattern

MAX_LISTED = 3
"""Number of arrays that a message lists."""


def listed(descriptions: Sequence[str]) -> str:
  """Returns the first descriptions and the number of the others."""
  more = len(descriptions) - MAX_LISTED
  rest = [f"{more} more"] if more > 0 else []
  return "; ".join([*descriptions[:MAX_LISTED], *rest])


def mismatched_names(
  expected: str,
  num_matches: int,
  missing: Iterable[str],
  unused: Iterable[str],
  others: Iterable[str],
  hints: Mapping[str, str],
) -> UserError:
  """Returns the error for names that are missing or unused.

  Args:
    expected: the first line.
    num_matches: number of published arrays that have a path.
    missing: the model's paths without a published array.
    unused: published names without a path.
    others: all other paths and published names.
    hints: nearest names, see `Report.hints`.
  """
  problems = [*(("missing", path) for path in missing)]
  problems += [("unused", name) for name in unused]
  lines = []
  for problem, name in problems:
    hint = f" (nearest: {quoted(hints[name])})" if name in hints else ""
    lines.append(f"{problem} {quoted(name)}{hint}")
  allow = allow_pattern([name for _, name in problems], others)
  return UserError(
    expected,
    f"got {num_matches} that match; {listed(lines)}",
    f"choose other weights, or pass {allow=}"
    if allow and num_matches
    else "choose other weights, or another model or family",
  )


class Misshapen(NamedTuple):
  """An array whose shape is not the model's."""

  path: str
  shape: tuple[int, ...]

  name: str
  """Published name."""

  published: tuple[int, ...]
  """Shape in the source, in the order of the model's axes if it has them."""

  reason: str


def mismatched_shapes(
  arrays: Sequence[Misshapen], num_matches: int, others: Iterable[str]
) -> UserError:
  """Returns the error for arrays of other shapes than the model's.

  Args:
    arrays: all of them.
    num_matches: number of arrays of the right shape.
    others: all other paths and published names.
  """
  expected = [f"the shape {list(a.shape)} of {a.path}" for a in arrays]
  got = [
    f"{list(a.published)} of the published {quoted(a.name)}"
    + (f" ({a.reason})" if a.reason else "")
    for a in arrays
  ]
  allow = allow_pattern([array.path for array in arrays], others)
  return UserError(
    f"expected {listed(expected)}",
    f"got {listed(got)}",
    f"change the model, or keep the initialization: pass {allow=}"
    if allow and num_matches
    else "change the fields of the model, or choose other weights",
  )


def shape_differences(
  expected: Mapping[str, Any], actual: Mapping[str, Any]
) -> list[str]:
  """Returns a description of each path whose shape differs or that is missing.

  Args:
    expected: arrays or shapes by path.
    actual: others by path.
  """
  differences = [f"missing {path}" for path in expected if path not in actual]
  differences += [
    f"{path} {list(actual[path].shape)} instead of {list(leaf.shape)}"
    for path, leaf in expected.items()
    if path in actual and tuple(actual[path].shape) != tuple(leaf.shape)
  ]
  differences += [f"additional {p}" for p in actual if p not in expected]
  return differences

"""A table of the sizes of classes, with bars."""

from collections.abc import Mapping, Sequence

import numpy as np

from dlcore.report import markup
from dlcore.report.markup import Markup, tag

MAX_CLASSES = 16
"""Number of classes up to which all are listed."""


def count_table(
  noun: str, names: Sequence[str], counts: Mapping[str, np.ndarray]
) -> Markup:
  """Returns a table of the number of examples of each class.

  Args:
    noun: of the examples.
    names: of the classes.
    counts: int `[C]` or shorter, by the title of the column.
  """
  size, (first_title, *titles) = len(names), counts
  table = np.zeros((size, len(counts)), np.int64)
  for i, column in enumerate(counts.values()):
    table[: len(column), i] = column
  title = f"{noun} by class"
  listed, rest = np.arange(size), np.arange(0)
  if size > MAX_CLASSES:
    order = np.argsort(-table[:, 0], kind="stable")
    listed, rest = order[: MAX_CLASSES - 2], order[MAX_CLASSES - 2 :]
    title = f"{noun} of the largest of {size:,} classes"
  largest = int(table[:, 0].max())
  rows = [_count_row(names[i], table[i], largest) for i in listed.tolist()]
  if len(rest):
    first = table[rest, 0]
    text = f"{len(rest):,} others, {first.min():,} to {first.max():,} each"
    rows.append([text, f"{first.sum():,}", ""])
    rows[-1] += [f"{count:,}" for count in table[rest, 1:].sum(0)]
  head = ["class", first_title, "", *titles]
  caption = tag("figcaption", tag("b", title))
  return tag("figure", caption, markup.table(head, rows), class_="counts")


def _count_row(name: str, counts: np.ndarray, largest: int) -> list[object]:
  """Returns the cells of a class: its counts, and a bar of the first."""
  first, *others = [
    f"{n:,}" if n else tag("b", 0, class_="absent") for n in counts.tolist()
  ]
  share = counts[0] / max(1, largest)
  bar = tag("i", class_="share", style=f"width:{100 * share:.1f}%")
  return [name, first, tag("div", bar), *others]

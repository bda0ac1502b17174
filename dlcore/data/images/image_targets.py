"""From the labels of images to the arrays of a task."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.bad_examples import shorten
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.images.listing import Item, Label, Listing
from dlcore.errors import UserError

TASKS = ("auto", "classification", "regression", "multilabel")

MAX_INTEGERS = 20
"""Number of different integers up to which they are classes."""

SEPARATORS = (";", "|", ",", " ")
"""Separators of several labels in one cell."""


class Targets(NamedTuple):
  """The meaning of the labels of a data set."""

  task: str
  """One of `TASKS` but "auto"."""

  separator: str = ""
  """Separator of several labels in one cell."""

  numeric_order: bool = False
  """Whether classes that are numbers are in the order of the numbers."""

  def parse(self, label: Label) -> Label | None:
    """Returns a class, a tuple of labels or a number as text.

    None stands for a label of another form.
    """
    if self.task == "multilabel":
      if isinstance(label, str):
        label = split_label(label, self.separator)
      return tuple(sorted(set(label)))
    if isinstance(label, tuple):
      label = label[0] if len(label) == 1 else ""
    if self.task == "regression" and number(label) is None:
      return None
    return label or None

  def class_names(self, labels: Iterable[Label]) -> list[str]:
    """Returns the sorted names of the classes in parsed labels."""
    if self.task == "regression":
      return []
    names = set(
      itertools.chain.from_iterable(
        label if isinstance(label, tuple) else (label,) for label in labels
      )
    )
    numbers = [number(name) for name in names]
    if self.numeric_order and None not in numbers:
      return sorted(names, key=lambda name: (number(name), name))
    return sorted(names)

  def schema(
    self, value_range: Sequence[float], resize: str, interpolation: str
  ) -> ImageSchema:
    """Returns the schema of such images, without classes."""
    return ImageSchema(
      target="target" if self.task == "regression" else "label",
      multilabel=self.task == "multilabel",
      value_range=tuple(value_range) or None,
      resize=resize,
      interpolation=interpolation,
    )

  def arrays(
    self, labels: Sequence[Label], classes: Sequence[str]
  ) -> dict[str, np.ndarray]:
    """Returns the target of parsed labels.

    Returns:
      `label`, int32 `[N]` or, of several labels, float32 `[N, C]` of 0 and 1;
      or `target`, float32 `[N]`.
    """
    if self.task == "regression":
      return {"target": np.array(labels, float).astype(np.float32)}
    positions = {name: position for position, name in enumerate(classes)}
    if self.task == "classification":
      numbers = [positions[str(label)] for label in labels]
      return {"label": np.array(numbers, np.int32)}
    rows = np.zeros((len(labels), len(classes)), np.float32)
    for row, names in zip(rows, labels, strict=True):
      row[[positions[name] for name in names if name in positions]] = 1
    return {"label": rows}


def choose(labels: Sequence[Label], task: str) -> Targets:
  """Returns the meaning of the labels of the training images in a table.

  Args:
    labels: text, or tuples of several labels.
    task: one of `TASKS`. "auto" is multilabel if some have several labels,
      regression if all are numbers other than at most 20 integers, otherwise
      classification.

  Raises:
    UserError: most images have a label of their own.
  """
  texts = [label for label in labels if isinstance(label, str)]
  separator = _separator(texts)
  several = any(
    isinstance(label, tuple) and len(label) != 1 for label in labels
  )
  if task == "auto":
    if several or (separator and not _are_numbers(texts)):
      task = "multilabel"
    elif texts and _are_numbers(texts) and not _are_classes(texts):
      task = "regression"
    else:
      task = "classification"
      _check_classes(labels)
  return Targets(task, separator or SEPARATORS[0], numeric_order=True)


def parse_labels(listing: Listing, targets: Targets) -> Listing:
  """Returns the listing with parsed labels; others become errors."""
  items, errors = [], list(listing.errors)
  for item in listing.items:
    label = targets.parse(item.label)
    if label is None:
      reason = f"the label {item.label!r:.80} for task={targets.task!r}"
      errors.append((item, reason if item.label else "no label"))
    else:
      items.append(item._replace(label=label))
  return listing._replace(items=items, errors=errors)


def labels_of(items: Iterable[Item]) -> list[Label]:
  """Returns the labels of images."""
  return [item.label for item in items]


def split_label(cell: str, separator: str) -> tuple[str, ...]:
  """Returns the labels in a cell."""
  return tuple(filter(None, map(str.strip, cell.split(separator))))


def number(text: str) -> float | None:
  """Returns the finite number in a text, or None."""
  try:
    value = float(text)
  except ValueError:
    return None
  return value if math.isfinite(value) and "_" not in text else None


def _are_numbers(labels: Sequence[str]) -> bool:
  return all(number(label) is not None for label in set(labels) - {""})


def _are_classes(labels: Sequence[str]) -> bool:
  values = {number(label) for label in set(labels) - {""}}
  integers = all(value is not None and value.is_integer() for value in values)
  return integers and len(values) <= MAX_INTEGERS


def _separator(labels: Sequence[str]) -> str:
  """Returns the separator of several labels in one cell, or `""`.

  A comma and a space occur in names, too. They count as separators if most of
  the parts are labels of other cells, if there are less than half as many parts
  as different cells, or if a space separates numbers.
  """
  cells = set(labels) - {""}
  for separator in SEPARATORS:
    combined = [cell for cell in cells if separator in cell]
    parts = {part for x in combined for part in split_label(x, separator)}
    if not parts or len(combined) == len(parts) == 1:
      continue
    alone = len(parts & cells)
    few = 2 * len(parts) <= len(combined)
    numbers = separator == " " and _are_numbers([*parts])
    if separator in ";|" or 2 * alone >= len(parts) or few or numbers:
      return separator
  return ""


def _check_classes(labels: Sequence[Label]) -> None:
  """Checks that most images do not have a label of their own."""
  distinct = sorted(set(map(str, labels)))
  if len(labels) >= MAX_INTEGERS and 2 * len(distinct) > len(labels):
    raise UserError(
      "expected several images of every class",
      f"got {len(distinct)} labels for {len(labels)} images, such as "
      f"{shorten(map(repr, distinct[:3]))}",
      'set target to another column, or task="classification"',
    )

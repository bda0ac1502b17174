"""Loading of arrays in NumPy's `.npz` files as training data."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dlcore.data import array_schema
from dlcore.data.array_schema import ArraySchema
from dlcore.data.bad_examples import shorten
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.info import Schema
from dlcore.data.source import Arrays, Splits
from dlcore.data.split import make_splits, split_paths
from dlcore.data.split_columns import SPLIT_NAMES
from dlcore.data.split_settings import SplitSettings
from dlcore.errors import UserError, check_choice, nearest

INPUTS = ("image", "images", "features", "x", "data", "inputs")
"""Names of the input, in lower case, in the order in which they are tried."""

TARGETS = ("label", "labels", "target", "targets", "y")
"""Likewise of the target."""

TASKS = ("auto", "classification", "regression", "multilabel")

MAX_CLASSES = 20
"""Distinct numbers of a float target that are classes, if all are integers."""


def npz_file(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  input: str = "",  # noqa: A002  the name of the schema's field
  target: str = "",
  task: str = "auto",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  group: str = "",
  time: str = "",
  split: str = "",
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  stratify: bool = True,
) -> Splits:
  """Loads arrays `[N, ...]` of inputs and targets.

  A file may have all splits: `x_train`, `y_train`, `x_test` and `y_test`.
  Images are uint8 `[N, Y, X]` or `[N, Y, X, C]` with 1 or 3 channels. All other
  inputs become float32. Objects, which would need pickle, are refused.

  Args:
    path: one file.
    train, valid, test: in place of `path`, a file per split; missing ones are
      held out of train.
    input: name of the array of inputs; by default one of `INPUTS`.
    target: likewise of `TARGETS`.
    task: `"classification"`, `"regression"`, `"multilabel"` or `"auto"`, which
      is classification for text, integers `[N]` and one-hot rows, multilabel
      for other rows of 0 and 1, and regression otherwise. Floats that are at
      most 20 different integers are classes.
    valid_fraction, test_fraction, folds, fold, duplicates, stratify: see
      `SplitSettings`.
    group, time, split: names of arrays `[N]`, see `SplitSettings`.

  Raises:
    UserError: a file or an array is missing or malformed.
  """
  check_choice("task", task, TASKS)
  rule = SplitSettings.of(locals())
  files = split_paths(path, train, valid, test)
  parts: dict[str, dict[str, np.ndarray]] = {}
  for name, at in files.items():
    parts |= _by_split(_read(at)) if path else {name: _read(at)}
  first = parts["train"]
  source = input or _recognize("input", INPUTS, first)
  target = target or _recognize("target", TARGETS, first)
  columns = {"groups": group, "times": time, "assigned": split}
  columns = {key: name for key, name in columns.items() if name}
  _check_names([source, target, *columns.values()], first)
  for part in parts.values():
    _check_names([source, target], part)
  pairs, schema, notes = _convert(parts, source, target, task)
  unused = first.keys() - {source, target, *columns.values()}
  if unused:
    notes.append(f"arrays that are not used: {shorten(sorted(unused))}")
  return make_splits(
    pairs,
    schema,
    name="npz_file",
    notes=notes,
    **{key: first[name] for key, name in columns.items()},
    **rule.arguments(),
  )


def _read(path: Path) -> dict[str, np.ndarray]:
  """Returns all arrays of numbers and text in a file.

  Raises:
    UserError: it is not such a file, or an array is of another type.
  """
  try:
    if not os.path.isfile(path):  # Opening a pipe would wait.
      raise FileNotFoundError
    return array_schema.read_arrays(path, kinds="biufUSM")
  except array_schema.DAMAGED as error:
    raise UserError(
      f"expected arrays of numbers or text in the .npz file {path}",
      f"got: {array_schema.describe(error)}",
      "write it by np.savez(path, x=..., y=...)",
    ) from error


def _by_split(arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
  """Returns the arrays by split, with names such as "x_train" as "x"."""
  parts: dict[str, dict[str, np.ndarray]] = {}
  for name, array in arrays.items():
    stem, _, end = name.rpartition("_")
    known = stem and end.lower() in SPLIT_NAMES
    of_split = parts.setdefault(SPLIT_NAMES[end.lower()] if known else "", {})
    of_split[stem if known else name] = array
  others = parts.pop("", {})
  if "train" not in parts:
    return {"train": dict(arrays)}
  return {**parts, "train": others | parts["train"]}


def _recognize(what: str, names: Sequence[str], arrays: Arrays) -> str:
  """Returns the array with one of the usual names."""
  by_lower = {name.lower(): name for name in arrays}
  for name in names:
    if name in by_lower:
      return by_lower[name]
  raise UserError(
    f"expected {what} to name one of the arrays",
    f"got none of {', '.join(names)} among: {', '.join(arrays)}"[:400],
    f"set {what}",
  )


def _check_names(names: Sequence[str], arrays: Arrays) -> None:
  for name in names:
    if name not in arrays:
      raise UserError(
        f"expected an array {name!r}",
        f"got the arrays {', '.join(arrays)}"[:400],
        nearest(name, arrays)[:400],
      )


def _convert(
  parts: Mapping[str, Arrays], input_name: str, target: str, task: str
) -> tuple[Mapping[str, Arrays], Schema, list[str]]:
  """Returns the arrays of every split, their schema and a note on the task."""
  inputs = {split: _to_input(part[input_name]) for split, part in parts.items()}
  targets = {split: part[target] for split, part in parts.items()}
  chosen = _infer_task(targets["train"]) if task == "auto" else task
  classes, encode = _encoder(targets["train"], chosen, target)
  change = ' (task="..." changes this)' if task == "auto" else ""
  note = f"target {target!r}: {chosen}{change}"
  is_image = inputs["train"].dtype == np.uint8
  # Prediction reads arrays of the same name, or image files.
  name = "image" if is_image else input_name
  array = "target" if chosen == "regression" else "label"
  schema = (ImageSchema if is_image else ArraySchema)(
    input=name,
    target=array,
    classes=classes,
    multilabel=chosen == "multilabel",
  )
  pairs = {
    split: {name: inputs[split], array: encode(targets[split])}
    for split in parts
  }
  return pairs, schema, [note]


def _to_input(array: np.ndarray) -> np.ndarray:
  """Returns images as uint8 `[N, Y, X, C]`, and other inputs as float32."""
  if array.dtype.kind not in "biuf":
    raise UserError("expected an input of numbers", f"got {array.dtype}")
  if array.dtype == np.uint8 and array.ndim == 3:
    return array[..., None]
  if array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3):
    return array
  return array.astype(np.float32)


def _infer_task(target: np.ndarray) -> str:
  if target.ndim == 1 and target.dtype.kind == "f":
    values = np.unique(target)
    few = len(values) <= MAX_CLASSES
    return "classification" if few and _are_integers(values) else "regression"
  if target.ndim == 1:
    return "classification"
  if target.dtype.kind in "biuf" and np.isin(target, (0, 1)).all():
    exclusive = bool((target.sum(axis=-1) == 1).all())
    return "classification" if exclusive else "multilabel"
  return "regression"


def _are_integers(values: np.ndarray) -> bool:
  return bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def _encoder(
  target: np.ndarray, task: str, name: str
) -> tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]:
  """Returns the classes, and a function that encodes the targets of a split.

  Raises:
    UserError: the target does not fit the task.
  """
  if task == "multilabel" and target.ndim == 2:
    names = tuple(map(str, range(target.shape[1])))
    return names, lambda values: values.astype(np.float32)
  if task == "regression" and target.dtype.kind in "biuf":
    return (), lambda values: values.astype(np.float32)
  if task == "classification" and target.ndim == 2:
    names = tuple(map(str, range(target.shape[1])))
    return names, lambda values: values.argmax(axis=1).astype(np.int32)
  if task != "classification" or target.ndim != 1:
    raise UserError(
      f"expected a target {name!r} that fits {task=}",
      f"got {target.dtype}{list(target.shape)}",
    )
  known = np.unique(target)
  numeric = known.dtype.kind in "iuf" and _are_integers(known)
  names = tuple(str(int(x)) if numeric else str(x) for x in known)

  def encode(values: np.ndarray) -> np.ndarray:
    positions = np.searchsorted(known, values)
    unknown = known[np.minimum(positions, len(known) - 1)] != values
    if unknown.any():
      raise UserError(
        f"expected the classes of {name!r} in train",
        f"got {values[unknown][0]!r} in another split only",
        "add examples of it to train, or remove it",
      )
    return positions.astype(np.int32)

  return names, encode

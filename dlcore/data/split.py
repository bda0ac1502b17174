"""From examples to splits: what is held out, and the statistics of train."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.source import (
  Arrays,
  Source,
  Splits,
  from_arrays,
  hold_out,
  permutation,
)
from dlcore.errors import UserError

ON_BAD = ("error", "skip")
"""What to do with examples that cannot be read: list them, or go on."""


def make(
  parts: Mapping[str, Arrays],
  about: Mapping[str, Any],
  *,
  hashes: Sequence[str] | np.ndarray,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.0,
) -> Splits:
  """Makes the splits of a data set that fits in memory.

  What is held out may lack a rare class of train, which is noted.

  Args:
    parts: arrays `[N, ...]` of `"train"` and, where the data set has them, of
      `"valid"` and `"test"`.
    about: JSON data, see `source.from_arrays`; the statistics are added.
    hashes: a string per example of train, which decides what is held out.
    valid_fraction: share of train to hold out where there is no `"valid"`.
    test_fraction: share of train to hold out where there is no `"test"`.
  """
  train = parts["train"]
  labels = train.get("label")
  chosen = divide(
    hashes,
    labels,
    valid_fraction=0.0 if "valid" in parts else valid_fraction,
    test_fraction=0.0 if "test" in parts else test_fraction,
  )
  about = _compared(about, chosen, labels)
  taken = {
    split: {name: array[rows] for name, array in train.items()}
    for split, rows in chosen.items()
  }
  parts = {**parts, **taken}
  about = {**about, **statistics(parts["train"])}
  return Splits(**{split: from_arrays(parts[split], about) for split in parts})


class Stream(NamedTuple):
  """The examples of a split that does not fit in memory."""

  read: Callable[[np.ndarray], dict[str, np.ndarray]]
  """See `Source.read`; picklable."""

  names: Sequence[str]
  """A string per example; their sum stands for that of the content, so they
  hold a hash of it where there is one."""


def make_streamed(
  parts: Mapping[str, Stream],
  about: Mapping[str, Any],
  *,
  hashes: Sequence[str] | np.ndarray,
  labels: np.ndarray | None,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.0,
) -> Splits:
  """Makes the splits of a data set that is read by index; see `make`.

  They are the same as those of `make`; the statistics come from at most 2,000
  examples of train.
  """
  train = parts["train"]
  chosen = divide(
    hashes,
    labels,
    valid_fraction=0.0 if "valid" in parts else valid_fraction,
    test_fraction=0.0 if "test" in parts else test_fraction,
  )
  about = _compared(about, chosen, labels)
  taken = {
    split: Stream(
      functools.partial(_read_rows, train.read, rows.astype(np.int32)),
      [train.names[int(row)] for row in rows],
    )
    for split, rows in chosen.items()
  }
  parts = {**parts, **taken}
  some = sample(len(parts["train"].names))
  about = {**about, **statistics(parts["train"].read(some))}
  return Splits(
    **{split: _source(part, about) for split, part in parts.items()}
  )


def divide(
  hashes: Sequence[str] | np.ndarray,
  labels: np.ndarray | None,
  *,
  valid_fraction: float,
  test_fraction: float,
) -> dict[str, np.ndarray]:
  """Divides examples into train and, where asked for, valid and test.

  The test examples are chosen first, so they do not depend on how many are
  held out for validation, which is a share of the rest.

  Args:
    hashes: a string per example.
    labels: int `[N]`, or None where there are no classes.
    valid_fraction: from 0, for no such split, to less than 1.
    test_fraction: likewise.

  Returns:
    The rows of every split, ascending int64.

  Raises:
    UserError: a fraction is out of range, or leaves a split without examples.
  """
  fractions = {"test": test_fraction, "valid": valid_fraction}
  hashes = np.asarray(hashes)
  rows = np.arange(len(hashes))
  divided = {}
  for split, fraction in fractions.items():
    if not 0.0 <= fraction < 1.0:
      raise UserError(
        f"expected data.{split}_fraction to be at least 0 and less than 1",
        f"got {fraction}",
      )
    if fraction > 0.0:
      rest = None if labels is None else labels[rows]
      out = hold_out(hashes[rows], rest, fraction)
      if out.all() or not out.any():
        raise UserError(
          f"expected enough examples to hold out {fraction:g} for {split}",
          f"got {len(rows)} examples"
          + ("" if rest is None else f" in {len(np.unique(rest))} classes"),
          f"give a {split} split, or set data.{split}_fraction=0",
        )
      divided[split], rows = rows[out], rows[~out]
  return {"train": rows, **divided}


def limit(train: Source, size: int) -> Source:
  """Takes a part of the training examples, always the same ones.

  Every class keeps its share, where the labels are in memory. The statistics
  are those of the part.

  Args:
    train: the examples to choose from.
    size: how many to take, more than 0.

  Raises:
    UserError: there are fewer.
  """
  if not 0 < size <= train.size:
    raise UserError(
      f"expected data.limit of at most {train.size}, the whole training set",
      f"got {size}",
    )
  order = permutation(0, 0, train.size)
  labels = None if train.arrays is None else train.arrays.get("label")
  rows = np.sort(order[_share(labels, order, size)])
  about = {k: v for k, v in train.about.items() if k not in ("size", "sha256")}
  if train.arrays is not None:
    arrays = {name: array[rows] for name, array in train.arrays.items()}
    return from_arrays(arrays, {**about, **statistics(arrays)})
  read = functools.partial(_read_rows, train.read, rows)
  names = [f"{train.about['sha256']} {row}" for row in rows]
  about |= statistics(read(sample(size)))
  return _source(Stream(read, names), about)


def _share(
  labels: np.ndarray | None, order: np.ndarray, size: int
) -> np.ndarray:
  """Returns `size` places in `order` that hold the same share of each class."""
  if labels is None:
    return np.arange(size)
  place = np.empty(len(order))
  for label in np.unique(labels):
    members = np.flatnonzero(labels[order] == label)
    place[members] = (np.arange(len(members)) + 0.5) / len(members)
  return np.argsort(place, kind="stable")[:size]


def statistics(train: Arrays) -> dict[str, Any]:
  """Returns `normalization` and `target_normalization` of the train split."""
  found = {}
  if "image" in train:
    mean, std = _channels(train["image"])
    found["normalization"] = {"mean": mean.tolist(), "std": std.tolist()}
  if "features" in train:
    mean, std = _columns(train["features"])
    found["normalization"] = {"mean": mean.tolist(), "std": std.tolist()}
  if "target" in train:
    mean, std = _columns(train["target"])
    found["target_normalization"] = {"mean": float(mean), "std": float(std)}
  return found


def sample(size: int, most: int = 2000) -> np.ndarray:
  """Returns at most `most` rows, int32 and evenly spaced: always the same."""
  return np.unique(np.linspace(0, size - 1, min(size, most)).astype(np.int32))


def _channels(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and std of uint8 `[N, Y, X, C]`, each `[C]` on the scale 0..1.

  They come from exact counts of the 256 values, a few images at a time: a
  float copy of all images would take eight times their memory.
  """
  channels = images.shape[-1]
  counts = np.zeros((channels, 256), np.int64)
  for start in range(0, len(images), 1000):
    piece = images[start : start + 1000]
    for channel in range(channels):
      values = piece[..., channel].reshape(-1)
      counts[channel] += np.bincount(values, minlength=256)
  scale = np.arange(256) / 255.0
  total = counts.sum(axis=1)
  mean = counts @ scale / total
  variance = counts @ scale**2 / total - mean**2
  return mean, np.maximum(np.sqrt(np.maximum(variance, 0.0)), 1.0 / 255.0)


def _columns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and std over the rows; a constant column gets the std 1."""
  mean = values.mean(axis=0, dtype=np.float64)
  std = values.std(axis=0, dtype=np.float64)
  return mean, np.where(std <= 1e-6 * np.abs(mean), 1.0, std)


def _read_rows(read, rows: np.ndarray, indices: np.ndarray):
  return read(rows[indices])


def _source(part: Stream, about: Mapping[str, Any]) -> Source:
  digest = hashlib.sha256("\n".join(part.names).encode("utf-8", "replace"))
  size = len(part.names)
  about = {**about, "size": size, "sha256": digest.hexdigest()}
  return Source(size=size, arrays=None, read=part.read, about=about)


def _compared(
  about: Mapping[str, Any],
  chosen: Mapping[str, np.ndarray],
  labels: np.ndarray | None,
) -> Mapping[str, Any]:
  """Adds a note to `about` where a held out split lacks a class of train."""
  if labels is None or "classes" not in about:
    return about
  names = dict(enumerate(about["classes"]))
  notes = compare_classes(
    {
      split: [names.get(i, str(i)) for i in np.unique(labels[rows]).tolist()]
      for split, rows in chosen.items()
    }
  )
  if not notes:
    return about
  return {**about, "notes": [*about.get("notes", ()), *notes]}


def compare_classes(classes: Mapping[str, Iterable[str]]) -> list[str]:
  """Returns notes on the classes that train has and another split has not.

  Args:
    classes: those of `"train"` and of the splits that came beside it.

  Raises:
    UserError: a split has a class that train has not.
  """
  known = set(classes["train"])
  notes = []
  for split, found in classes.items():
    found = set(found)
    if found - known:
      raise UserError(
        f"expected the classes of {split} to be among those of train",
        f"got {listed(map(repr, found - known))} in {split} only",
        "add examples of it to train, or remove it",
      )
    if known - found:
      missing = listed(map(repr, known - found))
      notes.append(f"{split} has no examples of the classes {missing}")
  return notes


def listed(names: Iterable[str], most: int = 10) -> str:
  """Returns the first few names, sorted, and how many more there are."""
  names = sorted(names)
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + more


def paths(
  path: str, train: str, valid: str, test: str
) -> dict[str, pathlib.Path]:
  """Returns the file or folder of every split that the user gave.

  Raises:
    UserError: neither `path` nor `train` is given, or more than one may be.
  """
  if bool(path) == bool(train) or (path and (valid or test)):
    raise UserError(
      "expected data.path, or data.train with data.valid and data.test",
      f"got {path=}, {train=}, {valid=}, {test=}",
      "give one path, or a path per split",
    )
  given = {"train": path or train, "valid": valid, "test": test}
  return {
    name: pathlib.Path(at).expanduser() for name, at in given.items() if at
  }


def hash_names(names: Iterable[str]) -> list[str]:
  """Returns a hash of every name, for `divide`."""
  return [
    hashlib.blake2b(
      name.encode("utf-8", "surrogateescape"), digest_size=8
    ).hexdigest()
    for name in names
  ]

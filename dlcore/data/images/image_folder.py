"""Loading of own images from a folder per class."""

import functools
import math
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data import bad_examples, cache, holdout, split
from dlcore.data.assignment import assign
from dlcore.data.images import decoding
from dlcore.data.images.attempts import Attempts, attempt, report_unreadable
from dlcore.data.images.conversion import common_shape, describe_range
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.images.listing import (
  Item,
  describe_left_out,
  folders_of,
  listing,
)
from dlcore.data.source import Splits
from dlcore.data.split_checks import compare_classes
from dlcore.data.split_columns import split_columns
from dlcore.data.split_settings import SplitSettings
from dlcore.errors import UserError


def image_folder(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  image_size: int = 0,
  channels: int = 0,
  value_range: tuple = (),
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  stratify: bool = True,
  in_memory_limit: int = 2 << 30,
  cache_dir: str = "",
) -> Splits:
  """Loads images whose folder names their class.

  The images of a class may be in folders inside of its folder. Hidden files,
  links to outside of the folder and files without a suffix of
  `decoding.FORMATS` are left out; a note counts them. Images that differ in
  size or pixel format are converted, see `decoding.decode`. A data set that
  fits in memory is decoded once and cached (see `cache`). Every image of a
  larger one is decoded once before the first run, to find unreadable files.
  Files of more than 512 MiB or 64 million pixels are unreadable.

  Args:
    path: a folder with `train/CLASS/*` and optionally `valid/` and `test/`, or
      with `CLASS/*`, which is split by a hash of the names.
    train, valid, test: in place of `path`, a folder per split; missing ones are
      held out of train.
    image_size: rows and columns; 0 for the most frequent size.
    channels: 1 or 3; 0 for 1 if all images are gray, else 3.
    value_range: values of gray images of 16 or 32 bits that become 0 and 255;
      empty for the extremes of the training images.
    on_bad: how to handle unreadable images: `"error"` lists them, `"skip"`
      drops them.
    valid_fraction: share of train to hold out if there is no such folder.
    test_fraction: likewise.
    folds, fold: number of folds of train, and the one that is test.
    duplicates: `"move"` moves images that occur in several splits to train.
    stratify: whether all splits have the same share of each class.
    in_memory_limit: bytes; a larger data set is streamed.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a folder or an image is missing or malformed.
  """
  _check_settings(image_size, channels, value_range, on_bad)
  rule = SplitSettings(
    valid_fraction,
    test_fraction,
    folds=folds,
    fold=fold,
    duplicates=duplicates,
    stratify=stratify,
  )
  rule.check()
  folders = folders_of(path, train, valid, test)
  settings = {
    "image_size": image_size,
    "channels": channels,
    "value_range": value_range,
    "on_bad": on_bad,
  }
  return cache.splits(
    functools.partial(
      _build,
      folders,
      rule,
      in_memory_limit=in_memory_limit,
      cache_dir=cache_dir,
      **settings,
    ),
    name="image_folder",
    key={
      "folders": {name: os.path.abspath(at) for name, at in folders.items()},
      **settings,
      **rule._asdict(),
    },
    files=lambda: [
      item.path for folder in folders.values() for item in listing(folder)[0]
    ],
    folder=cache_dir,
    max_bytes=in_memory_limit,
  )


def _check_settings(
  image_size: int, channels: int, value_range: Sequence[float], on_bad: str
) -> None:
  bad_examples.check_on_bad(on_bad)
  if channels not in (0, 1, 3) or image_size < 0:
    raise UserError(
      "expected channels 0, 1 or 3 and image_size at least 0",
      f"got {channels=}, {image_size=}",
    )
  if image_size**2 > decoding.MAX_PIXELS:
    largest = math.isqrt(decoding.MAX_PIXELS)
    raise UserError(
      f"expected image_size of at most {largest}", f"got {image_size}"
    )
  if value_range and not decoding.is_range(value_range):
    raise UserError(
      "expected value_range to be two finite numbers, the first below the "
      "second, or empty",
      f"got {value_range}",
    )


def _build(
  folders: Mapping[str, pathlib.Path],
  rule: SplitSettings,
  *,
  image_size: int,
  channels: int,
  value_range: Sequence[float],
  on_bad: str,
  in_memory_limit: int,
  cache_dir: str,
) -> Splits:
  """Reads and splits the images; see `image_folder`."""
  items, notes = _list_items(folders)
  cached = {
    name: functools.partial(_cached, folder=folder, cache_dir=cache_dir)
    for name, folder in folders.items()
  }
  parts = {
    name: attempt(decoding.header, part, map_files=cached[name]("image_header"))
    for name, part in items.items()
  }
  headers = {
    item: decoding.Header(*header)
    for part in parts.values()
    for item, header in part.results
  }
  shape, conversions = common_shape(
    list(headers.values()), image_size, channels
  )
  deep = [item for item, _ in parts["train"].results if headers[item].is_deep]
  if deep and not value_range:
    value_range = _find_range(parts["train"], deep, cached["train"], rule)
  count = sum(header.is_deep for header in headers.values())
  if value_range and count:
    conversions.append(describe_range(count, value_range))
  in_memory = len(headers) * math.prod(shape) <= in_memory_limit
  for name, part in parts.items():
    readable = [item for item, _ in part.results]
    if in_memory:
      decode = functools.partial(
        decoding.decode, shape=shape, value_range=value_range
      )
      parts[name] = attempt(decode, readable, part.errors)
    else:
      # A header does not reveal a truncated file, at which a run would stop
      # in the middle.
      parts[name] = attempt(
        decoding.hash_decodable,
        readable,
        part.errors,
        cached[name]("image_checked"),
      )
  notes = [*notes, *report_unreadable(parts, on_bad), *conversions]
  labels = {item.label for item, _ in parts["train"].results}
  schema = ImageSchema(
    classes=tuple(sorted(labels)), value_range=tuple(value_range) or None
  )
  if in_memory:
    return _in_memory(parts, schema, notes, rule)
  return _streamed(parts, schema, notes, shape, rule)


def _list_items(
  folders: Mapping[str, pathlib.Path],
) -> tuple[dict[str, list[Item]], list[str]]:
  """Returns the image files of every split, and notes on them."""
  listings = {name: listing(folder) for name, folder in folders.items()}
  items = {name: part for name, (part, _) in listings.items()}
  notes = compare_classes(
    {name: {item.label for item in part} for name, part in items.items()}
  )
  left_out = sum((counts for _, counts in listings.values()), Counter())
  return items, [*notes, *describe_left_out(left_out)]


def _find_range(
  train: Attempts,
  deep: Sequence[Item],
  cached: Callable[[str], Callable[..., list[Any]]],
  rule: SplitSettings,
) -> tuple[float, ...]:
  """Returns the extremes of the images of 16 or 32 bits that train keeps.

  Args:
    train: all images of the folder, of which some are held out.
    deep: those of 16 or 32 bits.
    cached: see `_cached`.
    rule: how the images are divided.
  """
  items = [item for item, _ in train.results]
  labels = np.unique([item.label for item in items], return_inverse=True)[1]
  columns = split_columns(
    holdout.hash_names(item.name for item in items),
    labels=labels,
    stratify=rule.arguments()["stratify"],
  )
  rows = assign(columns, rule)
  kept = {items[row] for row in rows["train"]} & set(deep)
  attempts = attempt(
    decoding.value_range, sorted(kept), map_files=cached("image_range")
  )
  ranges = [limits for _, limits in attempts.results]
  if not ranges:
    return decoding.FULL_RANGE
  low = min(low for low, _ in ranges)
  return low, max(low + 1, *(high for _, high in ranges))


def _cached(
  name: str, folder: pathlib.Path, cache_dir: str
) -> Callable[..., list[Any]]:
  """Returns `cache.per_file` for the files of a folder."""
  key = {"folder": os.path.abspath(folder)}
  return functools.partial(cache.per_file, name=name, key=key, folder=cache_dir)


def _in_memory(
  parts: Mapping[str, Attempts],
  schema: ImageSchema,
  notes: Sequence[str],
  rule: SplitSettings,
) -> Splits:
  """Splits decoded images, which `parts` loses to save memory."""
  arrays, names = {}, _names(parts)
  for name, part in parts.items():
    labels = _labels(part, schema.classes)
    arrays[name] = {"image": _stack(part), "label": labels}
  return split.make_splits(
    arrays,
    schema,
    name="image_folder",
    notes=notes,
    hashes=holdout.hash_names(names["train"]),
    names=names,
    **rule.arguments(),
  )


def _stack(part: Attempts) -> np.ndarray:
  """Returns the images of a split `[N, Y, X, C]` and removes them from it."""
  results = part.results
  stacked = np.empty((len(results), *results[0][1].shape), np.uint8)
  while results:
    _, image = results.pop()
    stacked[len(results)] = image
  return stacked


def _streamed(
  parts: Mapping[str, Attempts],
  schema: ImageSchema,
  notes: Sequence[str],
  shape: Sequence[int],
  rule: SplitSettings,
) -> Splits:
  """Splits images whose hashes are known, to read them by index."""
  labels = {name: _labels(part, schema.classes) for name, part in parts.items()}
  streams = {}
  for name, part in parts.items():
    paths = [os.fspath(item.path) for item, _ in part.results]
    # Another range gives other images, so the checksum covers it.
    full = schema.value_range in (None, decoding.FULL_RANGE)
    scaled = "" if full else f" {schema.value_range}"
    streams[name] = split.Stream(
      functools.partial(_read, paths, labels[name], shape, schema.value_range),
      [f"{item.name} {digest}{scaled}" for item, digest in part.results],
      [f"{item.label} {digest}" for item, digest in part.results],
    )
  names = _names(parts)
  return split.make_streamed(
    streams,
    schema,
    name="image_folder",
    notes=notes,
    hashes=holdout.hash_names(names["train"]),
    labels=labels["train"],
    names=names,
    **rule.arguments(),
  )


def _names(parts: Mapping[str, Attempts]) -> dict[str, list[str]]:
  return {
    name: [item.name for item, _ in part.results]
    for name, part in parts.items()
  }


def _labels(part: Attempts, classes: Sequence[str]) -> np.ndarray:
  numbers = {name: label for label, name in enumerate(classes)}
  return np.array([numbers[item.label] for item, _ in part.results], np.int32)


def _read(
  paths: Sequence[str],
  labels: np.ndarray,
  shape: Sequence[int],
  value_range: Sequence[float] | None,
  indices: np.ndarray,
) -> dict[str, np.ndarray]:
  """Reads a batch of images; see `Source.read`."""
  try:
    images = [
      decoding.decode(pathlib.Path(paths[int(row)]), shape, value_range)
      for row in indices
    ]
  except decoding.UnreadableError as error:
    raise UserError(
      "expected readable images", f"got: {error}", "fix or remove the file"
    ) from error
  return {"image": np.stack(images), "label": labels[indices]}

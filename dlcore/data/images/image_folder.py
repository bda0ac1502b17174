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
from dlcore.data.images import decoding, opening
from dlcore.data.images.attempts import Attempts, attempt, report_unreadable
from dlcore.data.images.conversion import (
  Conversion,
  common_shape,
  describe_range,
)
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.images.listing import (
  Item,
  describe_left_out,
  folders_of,
  listing,
)
from dlcore.data.source import Splits
from dlcore.errors import UserError, check_choice


def image_folder(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  image_size: int = 0,
  channels: int = 0,
  max_size: int = 224,
  resize: str = "crop",
  value_range: tuple = (),
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  in_memory_limit: int = 2 << 30,
  cache_dir: str = "",
) -> Splits:
  """Loads images whose folder names their class.

  The images of a class may be in folders inside of its folder. Hidden files,
  links to outside of the folder and files without a suffix of
  `opening.suffixes()` are left out; a note counts them. Images that differ in
  size or pixel format are converted, see `decoding.decode`. A data set that
  fits in memory is decoded once and cached (see `cache`). Every image of a
  larger one is decoded once before the first run, to find unreadable files.
  Files of more than 512 MiB or 64 million pixels are unreadable.

  Args:
    path: a folder with `train/CLASS/*` and optionally `valid/` and `test/`, or
      with `CLASS/*`, which is split by a hash of the names.
    train, valid, test: in place of `path`, a folder per split; missing ones are
      held out of train.
    image_size: rows and columns; 0 for the size of more than half of the
      images, or, if there is none or one above 512 x 512, the median of the
      shorter sides, at most `max_size`.
    channels: 1 or 3; 0 for 1 if all images are gray, else 3.
    max_size: largest rows and columns that are chosen for such images; 0 for
      the most frequent size, whatever it is.
    resize: how an image gets another size, one of `decoding.RESIZE`.
    value_range: values of gray images of 16 or 32 bits that become 0 and 255;
      empty for the extremes of the training images.
    on_bad: how to handle unreadable images: `"error"` lists them, `"skip"`
      drops them.
    valid_fraction: share of train to hold out if there is no such folder.
    test_fraction: likewise.
    in_memory_limit: bytes; a larger data set is streamed.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a folder or an image is missing or malformed.
  """
  conversion = Conversion(image_size, channels, max_size, resize, value_range)
  _check_settings(conversion, on_bad)
  folders = folders_of(path, train, valid, test)
  settings = {
    "on_bad": on_bad,
    "valid_fraction": valid_fraction,
    "test_fraction": test_fraction,
  }
  return cache.splits(
    functools.partial(
      _build,
      folders,
      conversion,
      in_memory_limit=in_memory_limit,
      cache_dir=cache_dir,
      **settings,
    ),
    name="image_folder",
    key={
      "folders": {name: os.path.abspath(at) for name, at in folders.items()},
      **conversion._asdict(),
      **settings,
    },
    files=lambda: [
      item.path for folder in folders.values() for item in listing(folder)[0]
    ],
    folder=cache_dir,
    max_bytes=in_memory_limit,
  )


def _check_settings(settings: Conversion, on_bad: str) -> None:
  bad_examples.check_on_bad(on_bad)
  check_choice("resize", settings.resize, decoding.RESIZE)
  image_size, channels, max_size, _, value_range = settings
  if channels not in (0, 1, 3) or image_size < 0 or max_size < 0:
    raise UserError(
      "expected channels 0, 1 or 3, image_size and max_size at least 0",
      f"got {channels=}, {image_size=}, {max_size=}",
    )
  if max(image_size, max_size) ** 2 > opening.MAX_PIXELS:
    largest = math.isqrt(opening.MAX_PIXELS)
    raise UserError(
      f"expected image_size and max_size of at most {largest}",
      f"got {image_size=}, {max_size=}",
    )
  if value_range and not decoding.is_range(value_range):
    raise UserError(
      "expected value_range to be two finite numbers, the first below the "
      "second, or empty",
      f"got {value_range}",
    )


def _build(
  folders: Mapping[str, pathlib.Path],
  settings: Conversion,
  *,
  on_bad: str,
  in_memory_limit: int,
  cache_dir: str,
  **fractions: float,
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
    list(headers.values()),
    settings.image_size,
    settings.channels,
    max_size=settings.max_size,
    resize=settings.resize,
  )
  value_range = settings.value_range
  deep = [item for item, _ in parts["train"].results if headers[item].is_deep]
  if deep and not value_range:
    value_range = _find_range(parts["train"], deep, cached["train"], fractions)
  count = sum(header.is_deep for header in headers.values())
  if value_range and count:
    conversions.append(describe_range(count, value_range))
  in_memory = len(headers) * math.prod(shape) <= in_memory_limit
  for name, part in parts.items():
    readable = [item for item, _ in part.results]
    if in_memory:
      decode = functools.partial(
        decoding.decode,
        shape=shape,
        value_range=value_range,
        resize=settings.resize,
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
    classes=tuple(sorted(labels)),
    value_range=tuple(value_range) or None,
    resize=settings.resize,
  )
  if in_memory:
    return _in_memory(parts, schema, notes, **fractions)
  return _streamed(parts, schema, notes, shape, **fractions)


def _list_items(
  folders: Mapping[str, pathlib.Path],
) -> tuple[dict[str, list[Item]], list[str]]:
  """Returns the image files of every split, and notes on them."""
  listings = {name: listing(folder) for name, folder in folders.items()}
  items = {name: part for name, (part, _) in listings.items()}
  notes = split.compare_classes(
    {name: {item.label for item in part} for name, part in items.items()}
  )
  left_out = sum((counts for _, counts in listings.values()), Counter())
  return items, [*notes, *describe_left_out(left_out)]


def _find_range(
  train: Attempts,
  deep: Sequence[Item],
  cached: Callable[[str], Callable[..., list[Any]]],
  fractions: Mapping[str, float],
) -> tuple[float, ...]:
  """Returns the extremes of the images of 16 or 32 bits that train keeps.

  Args:
    train: all images of the folder, of which some are held out.
    deep: those of 16 or 32 bits.
    cached: see `_cached`.
    fractions: shares of the images to hold out.
  """
  items = [item for item, _ in train.results]
  rows = holdout.divide(
    holdout.hash_names(item.name for item in items),
    np.unique([item.label for item in items], return_inverse=True)[1],
    **fractions,
  )
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
  **fractions: float,
) -> Splits:
  """Splits decoded images, which `parts` loses to save memory."""
  arrays = {}
  names = holdout.hash_names(item.name for item, _ in parts["train"].results)
  for name, part in parts.items():
    labels = _labels(part, schema.classes)
    arrays[name] = {"image": _stack(part), "label": labels}
  return split.make_splits(
    arrays,
    schema,
    name="image_folder",
    notes=notes,
    hashes=names,
    **fractions,
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
  **fractions: float,
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
      functools.partial(_read, paths, labels[name], shape, schema),
      [f"{item.name} {digest}{scaled}" for item, digest in part.results],
    )
  return split.make_streamed(
    streams,
    schema,
    name="image_folder",
    notes=notes,
    hashes=holdout.hash_names(item.name for item, _ in parts["train"].results),
    labels=labels["train"],
    **fractions,
  )


def _labels(part: Attempts, classes: Sequence[str]) -> np.ndarray:
  numbers = {name: label for label, name in enumerate(classes)}
  return np.array([numbers[item.label] for item, _ in part.results], np.int32)


def _read(
  paths: Sequence[str],
  labels: np.ndarray,
  shape: Sequence[int],
  schema: ImageSchema,
  indices: np.ndarray,
) -> dict[str, np.ndarray]:
  """Reads a batch of images; see `Source.read`."""
  try:
    images = [
      schema.decode(pathlib.Path(paths[int(row)]), shape) for row in indices
    ]
  except decoding.UnreadableError as error:
    raise UserError(
      "expected readable images", f"got: {error}", "fix or remove the file"
    ) from error
  return {"image": np.stack(images), "label": labels[indices]}

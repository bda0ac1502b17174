"""Own pictures: a folder for every class."""

import functools
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data import cache, images, split
from dlcore.data.image_files import (
  Attempts,
  Item,
  attempt,
  common_shape,
  folders_of,
  judge,
  listing,
)
from dlcore.data.source import Splits
from dlcore.errors import UserError, lookup


def image_folder(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  image_size: int = 0,
  channels: int = 0,
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  in_memory_limit: int = 2 << 30,
  cache_dir: str = "",
) -> Splits:
  """Loads pictures whose folder names their class.

  Hidden files, links that leave the folder and files that are no pictures are
  ignored. Pictures that differ in size or kind are brought to one, see
  `images.decode`. What fits in memory is decoded once and kept (see `cache`).
  Of a larger set every picture is decoded once before the first start, to find
  those that cannot be read.

  Args:
    path: a folder with `train/CLASS/*` and perhaps `valid/` and `test/`, or
      with `CLASS/*`, which is divided by a hash of the names; or give
    train, valid, test: a folder per split; what is missing is held out.
    image_size: rows and columns; 0 for the size that most pictures have.
    channels: 1 or 3; 0 for 1 where all pictures are grey, else 3.
    on_bad: what to do with pictures that cannot be read: `"error"` lists them,
      `"skip"` goes on without.
    valid_fraction: share of train for validation where there is no such folder.
    test_fraction: likewise.
    in_memory_limit: bytes; a larger set is streamed.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a folder or a picture is not as it must be.
  """
  _check_settings(image_size, channels, on_bad)
  folders = folders_of(path, train, valid, test)
  settings = {
    "image_size": image_size,
    "channels": channels,
    "on_bad": on_bad,
    "valid_fraction": valid_fraction,
    "test_fraction": test_fraction,
  }
  return cache.splits(
    functools.partial(
      _build,
      folders,
      in_memory_limit=in_memory_limit,
      cache_dir=cache_dir,
      **settings,
    ),
    name="image_folder",
    key={
      "folders": {name: os.path.abspath(at) for name, at in folders.items()},
      **settings,
    },
    files=lambda: [
      item.path for folder in folders.values() for item in listing(folder)[0]
    ],
    folder=cache_dir,
    most=in_memory_limit,
  )


def _check_settings(image_size: int, channels: int, on_bad: str) -> None:
  lookup(dict.fromkeys(split.ON_BAD), on_bad, "way with bad examples")
  if channels not in (0, 1, 3) or image_size < 0:
    raise UserError(
      "expected data.channels 0, 1 or 3 and data.image_size at least 0",
      f"got {channels=}, {image_size=}",
    )
  if image_size**2 > images.MOST_PIXELS:
    most = math.isqrt(images.MOST_PIXELS)
    raise UserError(
      f"expected data.image_size of at most {most}", f"got {image_size}"
    )


def _build(
  folders: Mapping[str, pathlib.Path],
  *,
  image_size: int,
  channels: int,
  on_bad: str,
  in_memory_limit: int,
  cache_dir: str,
  **fractions: float,
) -> Splits:
  """Reads and divides the pictures; see `image_folder`."""
  items, notes = _listed(folders)
  found = {
    name: attempt(
      images.header,
      part,
      over=_keeping("image_header", folders[name], cache_dir),
    )
    for name, part in items.items()
  }
  headers = [
    images.Header(*header) for part in found.values() for _, header in part.read
  ]
  shape, conversions = common_shape(headers, image_size, channels)
  in_memory = len(headers) * math.prod(shape) <= in_memory_limit
  for name, part in found.items():
    left = [item for item, _ in part.read]
    if in_memory:
      decode = functools.partial(images.decode, shape=shape)
      found[name] = attempt(decode, left, part.bad)
    else:
      # A header says nothing of the end of its file, and a run must not stop
      # at a picture in the middle.
      keeping = _keeping("image_checked", folders[name], cache_dir)
      found[name] = attempt(images.checked, left, part.bad, keeping)
  about = {
    "name": "image_folder",
    "input": "image",
    "shape": shape,
    "dtype": "uint8",
    "target": "label",
    "notes": [*notes, *judge(found, on_bad), *conversions],
    "classes": sorted({item.label for item, _ in found["train"].read}),
  }
  make = _held if in_memory else _streamed
  return make(found, about, **fractions)


def _listed(
  folders: Mapping[str, pathlib.Path],
) -> tuple[dict[str, list[Item]], list[str]]:
  """Returns the pictures of every split, and notes on them."""
  listings = {name: listing(folder) for name, folder in folders.items()}
  items = {name: found for name, (found, _) in listings.items()}
  notes = split.compare_classes(
    {name: {item.label for item in found} for name, found in items.items()}
  )
  links = sum(ignored for _, ignored in listings.values())
  if links:
    notes.append(f"{links} links that leave the folder were ignored")
  return items, notes


def _keeping(name: str, folder: pathlib.Path, cache_dir: str):
  """Returns what calls a function for all files; see `cache.per_file`."""
  key = {"folder": os.path.abspath(folder)}
  return functools.partial(cache.per_file, name=name, key=key, folder=cache_dir)


def _held(
  found: Mapping[str, Attempts], about: Mapping[str, Any], **fractions: float
) -> Splits:
  """Divides pictures that were decoded."""
  parts = {
    name: {
      "image": np.stack([image for _, image in part.read]),
      "label": _labels(part, about),
    }
    for name, part in found.items()
  }
  hashes = split.hash_names(item.name for item, _ in found["train"].read)
  return split.make(parts, about, hashes=hashes, **fractions)


def _streamed(
  found: Mapping[str, Attempts], about: Mapping[str, Any], **fractions: float
) -> Splits:
  """Divides pictures of which the hashes are known, to read them by index."""
  streams = {}
  for name, part in found.items():
    paths = [os.fspath(item.path) for item, _ in part.read]
    streams[name] = split.Stream(
      functools.partial(_read, paths, _labels(part, about), about["shape"]),
      [f"{item.name} {digest}" for item, digest in part.read],
    )
  return split.make_streamed(
    streams,
    about,
    hashes=split.hash_names(item.name for item, _ in found["train"].read),
    labels=_labels(found["train"], about),
    **fractions,
  )


def _labels(part: Attempts, about: Mapping[str, Any]) -> np.ndarray:
  numbers = {label: i for i, label in enumerate(about["classes"])}
  return np.array([numbers[item.label] for item, _ in part.read], np.int32)


def _read(
  paths: Sequence[str],
  labels: np.ndarray,
  shape: Sequence[int],
  indices: np.ndarray,
) -> dict[str, np.ndarray]:
  """Reads a batch of pictures; see `Source.read`."""
  try:
    pictures = [
      images.decode(pathlib.Path(paths[int(row)]), shape) for row in indices
    ]
  except images.UnreadableError as error:
    raise UserError(
      "expected pictures that can be read",
      f"got: {error}",
      "mend or remove it",
    ) from error
  return {"image": np.stack(pictures), "label": labels[indices]}

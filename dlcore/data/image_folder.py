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
  folders = folders_of(path, train, valid, test)

  def build() -> Splits:
    listings = {name: listing(folder) for name, folder in folders.items()}
    notes = split.compare_classes(
      {
        name: {item.label for item in items}
        for name, (items, _) in listings.items()
      }
    )
    links = sum(ignored for _, ignored in listings.values())
    if links:
      notes.append(f"{links} links that leave the folder were ignored")
    found = {
      name: attempt(images.header, items)
      for name, (items, _) in listings.items()
    }
    headers = [header for part in found.values() for _, header in part.read]
    shape, conversions = common_shape(headers, image_size, channels)
    bytes_needed = len(headers) * int(np.prod(shape))
    if bytes_needed <= in_memory_limit:
      decode = functools.partial(images.decode, shape=shape)
      found = {
        name: attempt(decode, [item for item, _ in part.read], part.bad)
        for name, part in found.items()
      }
    notes += judge(found, on_bad) + conversions
    about = {
      "name": "image_folder",
      "input": "image",
      "shape": shape,
      "dtype": "uint8",
      "target": "label",
      "classes": sorted({item.label for item, _ in found["train"].read}),
      "notes": notes,
    }
    labels = {name: _labels(part, about) for name, part in found.items()}
    names = {
      name: [item.name for item, _ in part.read] for name, part in found.items()
    }
    fractions = {
      "valid_fraction": valid_fraction,
      "test_fraction": test_fraction,
    }
    hashes = split.hash_names(names["train"])
    if bytes_needed <= in_memory_limit:
      parts = {
        name: {
          "image": np.stack([image for _, image in part.read]),
          "label": labels[name],
        }
        for name, part in found.items()
      }
      return split.make(parts, about, hashes=hashes, **fractions)
    streams = {}
    for name, part in found.items():
      paths = [os.fspath(item.path) for item, _ in part.read]
      read = functools.partial(_read, paths, labels[name], shape)
      streams[name] = split.Stream(read, names[name])
    return split.make_streamed(
      streams, about, hashes=hashes, labels=labels["train"], **fractions
    )

  return cache.splits(
    build,
    name="image_folder",
    key={
      "folders": {name: os.path.abspath(at) for name, at in folders.items()},
      "shape": (image_size, channels),
      "on_bad": on_bad,
      "fractions": (valid_fraction, test_fraction),
    },
    files=lambda: [
      item.path for folder in folders.values() for item in listing(folder)[0]
    ],
    folder=cache_dir,
    most=in_memory_limit,
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

"""Sources of images, in memory or read by index."""

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data import holdout, split
from dlcore.data.images import decoding
from dlcore.data.images.attempts import Attempts
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.images.image_targets import Targets, labels_of
from dlcore.data.images.listing import Item
from dlcore.data.source import Arrays, Splits, take_rows
from dlcore.data.stream import Stream
from dlcore.errors import UserError


def make_sources(
  parts: Mapping[str, Attempts],
  targets: Targets,
  schema: ImageSchema,
  shape: Sequence[int] | None,
  **settings: Any,
) -> Splits:
  """Returns the splits of the images, and holds missing ones out of train.

  Args:
    parts: decoded images, or their hashes, by split. They lose the decoded
      images, to save memory.
    targets: the meaning of the labels.
    schema: with the classes.
    shape: of images that are read by index, None for decoded ones.
    **settings: notes and the rule of the splits, see `split.make_splits`.
  """
  names = {
    part: [item.name for item, _ in attempts.results]
    for part, attempts in parts.items()
  }
  settings = {
    "name": "image_folder",
    "hashes": holdout.hash_names(names["train"]),
    "names": names,
    **settings,
  }
  labels = {
    name: targets.arrays(
      labels_of(item for item, _ in part.results), schema.classes
    )
    for name, part in parts.items()
  }
  if shape is None:
    arrays = {
      name: {"image": _stack(part), **labels[name]}
      for name, part in parts.items()
    }
    return split.make_splits(arrays, schema, **settings)
  streams = {
    name: _stream(part, labels[name], schema, shape)
    for name, part in parts.items()
  }
  return split.make_streamed(streams, schema, **settings)


def _stack(part: Attempts) -> np.ndarray:
  """Returns the images of a split `[N, Y, X, C]` and removes them from it."""
  results = part.results
  stacked = np.empty((len(results), *results[0][1].shape), np.uint8)
  while results:
    _, image = results.pop()
    stacked[len(results)] = image
  return stacked


def _stream(
  part: Attempts,
  labels: Arrays,
  schema: ImageSchema,
  shape: Sequence[int],
) -> Stream:
  """Returns images whose hashes are known, to read them by index."""
  paths = [os.fspath(item.path) for item, _ in part.results]
  # Another range gives other images, so the checksum covers it.
  full = schema.value_range in (None, decoding.FULL_RANGE)
  scaled = "" if full else f" {schema.value_range}"
  return Stream(
    functools.partial(_read, paths, labels, shape, schema),
    [f"{_describe(item)} {digest}{scaled}" for item, digest in part.results],
    [digest for _, digest in part.results],
    labels,
  )


def _describe(item: Item) -> str:
  """Returns the name of an image, with its label if that is in a table."""
  return item.name if item.is_in_class_folder else f"{item.name} {item.label!r}"


def _read(
  paths: Sequence[str],
  labels: Arrays,
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
  return {"image": np.stack(images), **take_rows(labels, indices)}

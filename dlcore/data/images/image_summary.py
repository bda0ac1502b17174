"""The size of a data set of images, from the headers of its files."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from dlcore.data.images import decoding, image_splits
from dlcore.data.images.attempts import Attempts
from dlcore.data.images.conversion import Conversion
from dlcore.data.images.image_folder import list_images
from dlcore.data.images.image_targets import labels_of
from dlcore.data.images.split_folders import places_of


class ImageSummary(NamedTuple):
  """Numbers by which a configuration is chosen."""

  size: int
  """Training examples, without those that are held out."""

  valid_size: int

  num_files: int
  """Images of all splits."""

  stored_pixels: int
  """Pixels of all files together, before the conversion."""

  shape: tuple[int, int, int]
  """Rows, columns and channels to which the images are converted."""

  num_classes: int
  """0 for a regression."""

  task: str
  """"classification", "regression" or "multilabel"."""


def summarize_images(settings: Mapping[str, Any]) -> ImageSummary:
  """Returns the summary of the data set that `image_folder(**settings)` loads.

  Raises:
    UserError: a folder or a table is missing or malformed.
  """
  names = ("path", "train", "valid", "test", "labels")
  places = places_of(*(settings[name] for name in names))
  target = (settings["target"],) if settings["target"] else settings["targets"]
  columns = [settings[name] for name in ("group", "time", "split")]
  listings = list_images(places, settings["file_name"], target, columns)
  conversion = Conversion(*(settings[name] for name in Conversion._fields))
  targets, parts, shape, _, _ = image_splits.survey(
    places,
    listings,
    conversion,
    task=settings["task"],
    cache_dir=settings["cache_dir"],
  )
  labels = labels_of(item for item, _ in parts["train"].results)
  size, valid_size = _count(settings, parts)
  rows = [row for part in parts.values() for _, row in part.results]
  return ImageSummary(
    size=size,
    valid_size=valid_size,
    num_files=len(rows),
    stored_pixels=sum(math.prod(decoding.Header(*row)[:2]) for row in rows),
    shape=(shape[0], shape[1], shape[2]),
    num_classes=len(targets.class_names(labels)),
    task=targets.task,
  )


def _count(
  settings: Mapping[str, Any], parts: Mapping[str, Attempts]
) -> tuple[int, int]:
  """Returns the sizes of train and valid, after what is held out of train."""
  counts = {name: len(part.results) for name, part in parts.items()}
  total, folds = counts["train"], settings["folds"]
  for split in ("test", "valid"):
    fraction = settings[f"{split}_fraction"]
    if folds and (fraction or split == "test"):
      fraction = 1 / folds
    if split not in counts:
      counts[split] = round(fraction * (total if folds else counts["train"]))
      counts["train"] -= counts[split]
  return counts["train"], counts["valid"]

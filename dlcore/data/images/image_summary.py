"""The size of a data set of images, from the headers of its files."""

import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

from dlcore.data.images import decoding, image_splits
from dlcore.data.images.conversion import Conversion
from dlcore.data.images.image_folder import list_images
from dlcore.data.images.image_targets import labels_of
from dlcore.data.images.split_folders import places_of


class ImageSummary(NamedTuple):
  """Numbers by which a configuration is chosen."""

  size: int
  """Training examples, without those that are held out."""

  shape: tuple[int, int, int]
  """Rows, columns and channels to which the images are converted."""

  stored_size: int
  """Median of the shorter sides of the files, in pixels."""

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
  train = parts["train"].results
  labels = labels_of(item for item, _ in train)
  kept = 1.0
  for split in ("test", "valid"):
    fraction = settings[f"{split}_fraction"]
    if settings["folds"]:
      fraction = 1 / settings["folds"]
    kept *= 1.0 if split in parts else 1 - fraction
  sides = [min(decoding.Header(*row)[:2]) for _, row in train]
  return ImageSummary(
    size=round(len(train) * kept),
    shape=(shape[0], shape[1], shape[2]),
    stored_size=statistics.median_low(sides or [1]),
    num_classes=len(targets.class_names(labels)),
    task=targets.task,
  )

"""Loading of own images from class folders or with a table of labels."""

import functools
import math
from collections.abc import Mapping, Sequence

from dlcore.data import bad_examples, cache
from dlcore.data.images import decoding, image_splits, opening
from dlcore.data.images.conversion import Conversion
from dlcore.data.images.image_targets import TASKS
from dlcore.data.images.labelled_images import labelled_images
from dlcore.data.images.listing import Listing, listing
from dlcore.data.images.split_folders import Place, absolute, places_of
from dlcore.data.source import Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.errors import UserError, check_choice


def image_folder(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  labels: str = "auto",
  file_name: str = "",
  target: str = "",
  targets: tuple = (),
  task: str = "auto",
  image_size: int = 0,
  channels: int = 0,
  max_size: int = 224,
  resize: str = "crop",
  interpolation: str = "bilinear",
  value_range: tuple = (),
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  group: str = "",
  time: str = "",
  split: str = "",
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  stratify: bool = True,
  in_memory_limit: int = 2 << 30,
  cache_dir: str = "",
) -> Splits:
  """Loads images with one or several labels, or numbers, to predict.

  A folder names the class of the images in it and in its folders, or a CSV or
  JSONL file has a column of file names, with or without their suffix and
  folders, and one or several columns of labels. Hidden files, links to outside
  of the folder, files without a suffix of `opening.suffixes()` and images that
  the table does not name are left out; a note counts them. Images that differ
  in size or pixel format are converted, see `decoding.decode`. A data set that
  fits in memory is decoded once and cached (see `cache`). Every image of a
  larger one is decoded once before the first run, to find unreadable files.
  Files of more than 512 MiB or 64 million pixels are unreadable.

  Args:
    path: a folder with `train/CLASS/*` and optionally `valid/` and `test/`, or
      with `CLASS/*`, which is split by a hash of the names; or a table, whose
      images are in its folder.
    train, valid, test: in place of `path`, one for each split; missing ones are
      held out of train.
    labels: a table for the images in the folders. "auto" takes metadata.csv or
      metadata.jsonl of a folder that has one, "" the class folders.
    file_name: column of the names; by default the one that names most images.
    target: column of the labels. By default the only one beside the names, one
      of `LABEL_COLUMNS`, or all others if they are 0 and 1.
    targets: in place of `target`, several columns of 0 and 1.
    task: "classification", "regression", "multilabel" or "auto", which is
      multilabel if cells or rows give an image several labels, regression for
      numbers other than at most 20 integers, and otherwise classification.
    image_size: rows and columns; 0 for the size of more than half of the
      images, or, if there is none or one above 512 x 512, the median of the
      shorter sides, at most `max_size`.
    channels: 1 or 3; 0 for 1 if all images are gray, else 3.
    max_size: largest rows and columns that are chosen for such images; 0 for
      the most frequent size, whatever it is.
    resize: how an image gets another size, one of `decoding.RESIZE`.
    interpolation: the filter of that, one of `decoding.INTERPOLATIONS`.
    value_range: values of gray images of 16 or 32 bits that become 0 and 255;
      empty for the extremes of the training images.
    on_bad: how to handle unreadable images and rows: `"error"` lists them,
      `"skip"` drops them.
    valid_fraction: share of train to hold out if there is no such folder.
    test_fraction: likewise.
    group, time, split, folds, fold, duplicates, stratify: see
      `SplitSettings`; the columns are those of the table.
    in_memory_limit: bytes; a larger data set is streamed.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a folder, a table or an image is missing or malformed.
  """
  conversion = Conversion(
    image_size, channels, max_size, resize, interpolation, value_range
  )
  _check_settings(conversion, task, on_bad)
  rule = SplitSettings.of(locals())
  places = places_of(path, train, valid, test, labels)
  listings = functools.partial(
    list_images,
    places,
    file_name,
    (target,) if target else targets,
    (group, time, split),
  )
  settings = {"task": task, "on_bad": on_bad}
  return cache.splits(
    lambda: image_splits.build(
      places,
      listings(),
      conversion,
      rule,
      in_memory_limit=in_memory_limit,
      cache_dir=cache_dir,
      **settings,
    ),
    name="image_folder",
    key={
      "places": absolute(places),
      "targets": [target, *targets],
      "file_name": file_name,
      **conversion._asdict(),
      **rule._asdict(),
      **settings,
    },
    files=lambda: {
      *(item.path for part in listings().values() for item in part.items),
      *(place.table for place in places.values() if place.table),
    },
    folder=cache_dir,
    max_bytes=in_memory_limit,
  )


def list_images(
  places: Mapping[str, Place],
  file_name: str,
  targets: Sequence[str],
  columns: Sequence[str],
) -> dict[str, Listing]:
  """Returns the images of every split, with their labels as text.

  Args:
    places: of the splits.
    file_name: see `image_folder`.
    targets: columns of the labels.
    columns: of groups, times and splits, which the table of train has.

  Raises:
    UserError: a column is needed where there is no table.
  """
  if any(columns) and not places["train"].table:
    raise UserError(
      "expected a table of labels with the columns of group, time and split",
      f"got class folders in {places['train'].folder}",
      "set labels to the table, or leave group, time and split empty",
    )
  return {
    name: labelled_images(
      place.folder,
      place.table,
      file_name,
      targets,
      columns if name == "train" else (),
      exclude=columns,
    )
    if place.table
    else listing(place.folder)
    for name, place in places.items()
  }


def _check_settings(settings: Conversion, task: str, on_bad: str) -> None:
  bad_examples.check_on_bad(on_bad)
  check_choice("task", task, TASKS)
  check_choice("resize", settings.resize, decoding.RESIZE)
  check_choice("interpolation", settings.interpolation, decoding.INTERPOLATIONS)
  image_size, channels, max_size, *_, value_range = settings
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

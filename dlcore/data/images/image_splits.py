"""The splits of listed images, in memory or streamed."""

import dataclasses
import functools
import math
import os
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data import cache, holdout
from dlcore.data.images import decoding, image_sources, image_targets
from dlcore.data.images.attempts import Attempts, attempt, report_unreadable
from dlcore.data.images.conversion import (
  Conversion,
  common_shape,
  describe_range,
)
from dlcore.data.images.image_targets import Targets, labels_of
from dlcore.data.images.listing import Item, Listing, describe_left_out
from dlcore.data.images.split_folders import Place
from dlcore.data.images.split_rule import split_rule
from dlcore.data.source import Splits
from dlcore.data.split_checks import compare_classes
from dlcore.data.split_plan import make_plan
from dlcore.data.split_settings import SplitSettings


class Survey(NamedTuple):
  """Sizes and labels of the images of a data set, before they are decoded."""

  targets: Targets
  parts: dict[str, Attempts]
  """Headers of the readable images by split."""

  shape: list[int]
  """Rows, columns and channels to which the images are converted."""

  notes: list[str]
  conversions: list[str]
  """Notes on the labels, and on the conversions."""


def survey(
  places: Mapping[str, Place],
  listings: Mapping[str, Listing],
  settings: Conversion,
  *,
  task: str,
  cache_dir: str,
) -> Survey:
  """Reads the headers of listed images.

  Args:
    places: of the splits.
    listings: the images of the splits, with labels as text.
    settings: how the images are converted.
    task: see `image_folder`.
    cache_dir: likewise.
  """
  targets, listings, notes = _parse(places, listings, task)
  parts = {
    name: attempt(
      decoding.header,
      part.items,
      part.errors,
      _cached(places[name].folder, cache_dir, "image_header"),
    )
    for name, part in listings.items()
  }
  rows = [row for part in parts.values() for _, row in part.results]
  shape, conversions = common_shape(
    [decoding.Header(*row) for row in rows],
    settings.image_size,
    settings.channels,
    max_size=settings.max_size,
    resize=settings.resize,
  )
  return Survey(targets, parts, shape, notes, conversions)


def build(
  places: Mapping[str, Place],
  listings: Mapping[str, Listing],
  settings: Conversion,
  split_settings: SplitSettings,
  *,
  task: str,
  on_bad: str,
  in_memory_limit: int,
  cache_dir: str,
) -> Splits:
  """Reads and splits listed images; see `survey` and `image_folder`."""
  targets, parts, shape, notes, conversions = survey(
    places, listings, settings, task=task, cache_dir=cache_dir
  )
  caches = {
    name: functools.partial(_cached, place.folder, cache_dir)
    for name, place in places.items()
  }
  value_range, deep = _value_range(
    settings.value_range, parts, caches["train"], split_settings
  )
  schema = targets.schema(value_range, settings.resize, settings.interpolation)
  count = sum(len(part.results) for part in parts.values())
  in_memory = count * math.prod(shape) <= in_memory_limit
  decode = functools.partial(schema.decode, shape=shape) if in_memory else None
  parts = {
    name: _read(part, decode, caches[name]) for name, part in parts.items()
  }
  has_classes = targets.task == "classification"
  skipped = report_unreadable(parts, on_bad, has_classes)
  labels = labels_of(item for item, _ in parts["train"].results)
  classes = tuple(targets.class_names(labels))
  return image_sources.make_sources(
    parts,
    targets,
    dataclasses.replace(schema, classes=classes),
    None if in_memory else shape,
    notes=[*notes, *skipped, *conversions, *deep],
    **split_rule([item for item, _ in parts["train"].results], split_settings),
  )


def _parse(
  places: Mapping[str, Place], listings: Mapping[str, Listing], task: str
) -> tuple[Targets, dict[str, Listing], list[str]]:
  """Returns the meaning of the labels, the parsed images, and notes on both."""
  train = labels_of(listings["train"].items)
  if places["train"].table:
    targets = image_targets.choose(train, task)
    noun = f"{len(train)} images in {places['train'].table}"
    notes = [f"the labels of {noun} are read with task={targets.task!r}"]
  else:
    targets = Targets("classification" if task == "auto" else task)
    notes = []
  parsed = {
    name: image_targets.parse_labels(part, targets)
    for name, part in listings.items()
  }
  notes += compare_classes(
    {
      name: targets.class_names(labels_of(part.items))
      for name, part in parsed.items()
    }
  )
  left_out = sum((part.left_out for part in listings.values()), Counter())
  return targets, parsed, [*notes, *describe_left_out(left_out)]


def _read(
  part: Attempts,
  decode: Callable[[pathlib.Path], np.ndarray] | None,
  cached: Callable[[str], Callable[..., list[Any]]],
) -> Attempts:
  """Decodes the images of a split, or only checks and hashes them."""
  readable = [item for item, _ in part.results]
  if decode:
    return attempt(decode, readable, part.errors)
  # A header does not reveal a truncated file, at which a run would stop in the
  # middle.
  return attempt(
    decoding.hash_decodable, readable, part.errors, cached("image_checked")
  )


def _value_range(
  value_range: Sequence[float],
  parts: Mapping[str, Attempts],
  cached: Callable[[str], Callable[..., list[Any]]],
  split_settings: SplitSettings,
) -> tuple[tuple[float, ...], list[str]]:
  """Returns the range of the images of 16 or 32 bits, and a note on them.

  Args:
    value_range: see `image_folder`.
    parts: headers of all images by split.
    cached: see `_cached`, of train.
    split_settings: see `image_folder`.
  """
  deep = {
    name: [i for i, row in part.results if decoding.Header(*row).is_deep]
    for name, part in parts.items()
  }
  if deep["train"] and not value_range:
    value_range = _find_range(parts, deep["train"], cached, split_settings)
  count = sum(map(len, deep.values()))
  notes = [describe_range(count, value_range)] if value_range and count else []
  return tuple(value_range), notes


def _find_range(
  parts: Mapping[str, Attempts],
  deep: Sequence[Item],
  cached: Callable[[str], Callable[..., list[Any]]],
  split_settings: SplitSettings,
) -> tuple[float, ...]:
  """Returns the extremes of the images of 16 or 32 bits that train keeps.

  Args:
    parts: all images by split, of which some of train are held out.
    deep: those of train with 16 or 32 bits.
    cached: see `_cached`.
    split_settings: see `image_folder`.
  """
  items = [item for item, _ in parts["train"].results]
  rule = split_rule(items, split_settings._replace(duplicates="keep"))
  hashes = holdout.hash_names(item.name for item in items)
  plan = make_plan(
    hashes, _strata(items), list(parts), lambda part: None, **rule
  )
  rows = plan.rows["train"]["train"]
  assert rows is not None
  kept = {items[row] for row in rows} & set(deep)
  attempts = attempt(
    decoding.value_range, sorted(kept), map_files=cached("image_range")
  )
  ranges = [limits for _, limits in attempts.results]
  if not ranges:
    return decoding.FULL_RANGE
  low = min(low for low, _ in ranges)
  return low, max(low + 1, *(high for _, high in ranges))


def _strata(items: Sequence[Item]) -> np.ndarray:
  """Returns a number for every class, int64 `[N]`; 0 for other labels."""
  labels = labels_of(items)
  if not all(isinstance(label, str) for label in labels):
    return np.zeros(len(labels), np.int64)
  return np.unique(labels, return_inverse=True)[1]


def _cached(
  folder: pathlib.Path, cache_dir: str, name: str
) -> Callable[..., list[Any]]:
  """Returns `cache.per_file` for the files of a folder."""
  key = {"folder": os.path.abspath(folder)}
  return functools.partial(cache.per_file, name=name, key=key, folder=cache_dir)

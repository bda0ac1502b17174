"""Own pictures: a folder for every class."""

import collections
import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data import cache, images, split
from dlcore.data.source import Splits
from dlcore.errors import UserError, lookup

SUFFIXES = {
  ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif",
  ".tiff", ".webp",
}  # fmt: skip
"""Of the files that are taken for pictures; all others are ignored."""

SPLITS = {
  "train": "train",
  "valid": "valid",
  "val": "valid",
  "validation": "valid",
  "test": "test",
}
"""Names of the folders of splits, and the splits."""


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
  folders = _folders(path, train, valid, test)

  def build() -> Splits:
    listings = {name: _listing(folder) for name, folder in folders.items()}
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
      name: _each(images.header, items) for name, (items, _) in listings.items()
    }
    headers = [header for part in found.values() for _, header in part.read]
    shape, conversions = _common_shape(headers, image_size, channels)
    bytes_needed = len(headers) * int(np.prod(shape))
    if bytes_needed <= in_memory_limit:
      decode = functools.partial(images.decode, shape=shape)
      found = {
        name: _each(decode, [item for item, _ in part.read], part.bad)
        for name, part in found.items()
      }
    notes += _judge(found, on_bad) + conversions
    about = {
      "name": "image_folder",
      "input": "image",
      "shape": shape,
      "dtype": "uint8",
      "target": "label",
      "classes": sorted({item.label for item, _ in found["train"].read}),
      "notes": notes,
    }
    make = _in_memory if bytes_needed <= in_memory_limit else _streamed
    return make(found, about, valid_fraction, test_fraction)

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
      item.path for folder in folders.values() for item in _listing(folder)[0]
    ],
    folder=cache_dir,
    most=in_memory_limit,
  )


class _Item(NamedTuple):
  """One picture."""

  path: pathlib.Path
  label: str

  @property
  def name(self) -> str:
    """The class and the file: what decides whether it is held out."""
    return f"{self.label}/{self.path.name}"


class _Read(NamedTuple):
  """What came of reading the pictures of a split."""

  read: list[tuple[_Item, Any]]
  bad: list[tuple[_Item, str]]


def _folders(
  path: str, train: str, valid: str, test: str
) -> dict[str, pathlib.Path]:
  """Returns the folder of every split that has one."""
  if bool(path) == bool(train) or (path and (valid or test)):
    raise UserError(
      "expected data.path, or data.train with data.valid and data.test",
      f"got {path=}, {train=}, {valid=}, {test=}",
      "give one folder, or a folder per split",
    )
  given = {"train": path or train, "valid": valid, "test": test}
  folders = {
    name: pathlib.Path(at).expanduser() for name, at in given.items() if at
  }
  for folder in folders.values():
    if not folder.is_dir():
      raise UserError(
        "expected a folder with a folder of pictures for every class",
        f"got {'a file' if folder.exists() else 'no folder'} at {folder}",
      )
  inside = {
    SPLITS[entry.name]: entry
    for entry in sorted(folders["train"].iterdir())
    if path and entry.name in SPLITS and entry.is_dir()
  }
  if inside and "train" not in inside:
    raise UserError(
      f"expected a folder 'train' in {path}",
      f"got {', '.join(sorted(entry.name for entry in inside.values()))}",
      "name the folder of the training pictures 'train'",
    )
  return inside or folders


def _listing(folder: pathlib.Path) -> tuple[list[_Item], int]:
  """Lists the pictures of a split, and counts the links that leave it.

  Raises:
    UserError: there are no class folders, or one has no pictures.
  """
  root = folder.resolve()
  ignored = 0

  def entries(parent: pathlib.Path) -> list[pathlib.Path]:
    nonlocal ignored
    kept = []
    for path in sorted(parent.iterdir()):
      if path.name.startswith("."):
        continue
      if path.is_symlink() and not path.resolve().is_relative_to(root):
        ignored += 1
        continue
      kept.append(path)
    return kept

  classes = [path for path in entries(folder) if path.is_dir()]
  if not classes:
    raise UserError(
      f"expected a folder for every class in {folder}",
      "got none" if any(folder.iterdir()) else "got an empty folder",
      "put the pictures of a class in a folder of its name",
    )
  items = []
  for label in classes:
    pictures = [
      _Item(path, label.name)
      for path in entries(label)
      if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not pictures:
      raise UserError(
        f"expected pictures in every class folder of {folder}",
        f"got none in {label.name!r}",
        f"add some ({', '.join(sorted(SUFFIXES))}) or remove the folder",
      )
    items += pictures
  return items, ignored


def _each(
  function: Callable[[pathlib.Path], Any],
  items: Sequence[_Item],
  bad: Sequence[tuple[_Item, str]] = (),
) -> _Read:
  """Calls `function(path)` for every item, in threads; adds to the bad ones."""

  def attempt(item: _Item):
    try:
      return function(item.path), ""
    except images.UnreadableError as error:
      return None, str(error)

  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
    results = list(zip(items, threads.map(attempt, items), strict=True))
  return _Read(
    [(item, value) for item, (value, why) in results if not why],
    [*bad, *((item, why) for item, (_, why) in results if why)],
  )


def _common_shape(
  headers: Sequence[images.Header], image_size: int, channels: int
) -> tuple[list[int], list[str]]:
  """Returns the shape that all pictures are brought to, and what that changes.

  With neither set, it is the size that most pictures have.
  """
  if not headers:
    return [image_size or 1, image_size or 1, channels or 3], []
  sizes = collections.Counter(
    (header.height, header.width) for header in headers
  )
  height, width = max(sizes, key=lambda size: (sizes[size], size))
  if image_size:
    height = width = image_size
  channels = channels or (1 if all(header.grey for header in headers) else 3)
  notes = []
  others = len(headers) - sizes[height, width]
  if others:
    notes.append(
      f"{others} of {len(headers)} pictures are scaled and cut to {height} rows "
      f"and {width} columns (data.image_size={image_size})"
    )
  kept = "L" if channels == 1 else "RGB"
  modes = collections.Counter(header.mode for header in headers)
  del modes[kept]
  if modes:
    kinds = ", ".join(
      f"{count} {mode}" for mode, count in sorted(modes.items())
    )
    notes.append(
      f"{sum(modes.values())} of {len(headers)} pictures are converted to {kept} "
      f"({kinds}; data.channels={channels})"
    )
  return [height, width, channels], notes


def _judge(found: Mapping[str, _Read], on_bad: str) -> list[str]:
  """Returns a note on unreadable pictures where they are skipped.

  Raises:
    UserError: there are such pictures and they are not to be skipped, or a
      class has no others.
  """
  bad = [entry for part in found.values() for entry in part.bad]
  if not bad:
    return []
  shown = "; ".join(f"{item.path}: {why}" for item, why in bad[:10])
  more = f"; and {len(bad) - 10} more" if len(bad) > 10 else ""
  if on_bad == "error":
    raise UserError(
      "expected pictures that can be read",
      f"got {len(bad)} that cannot: {shown}{more}",
      "mend or remove them, or leave them out with data.on_bad=skip",
    )
  for name, part in found.items():
    left = {item.label for item, _ in part.read}
    lost = {item.label for item, _ in part.bad} - left
    if lost:
      raise UserError(
        f"expected pictures that can be read in every class of {name}",
        f"got none in {split.listed(map(repr, lost))}: {shown}{more}",
        "mend them or remove the folder",
      )
  return [f"{len(bad)} unreadable pictures were left out: {shown}{more}"]


def _in_memory(
  found: Mapping[str, _Read], about, valid_fraction: float, test_fraction: float
) -> Splits:
  parts = {
    name: {
      "image": np.stack([image for _, image in part.read]),
      "label": _labels(part, about),
    }
    for name, part in found.items()
  }
  return split.make(
    parts,
    about,
    hashes=_hashes(found["train"]),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )


def _streamed(
  found: Mapping[str, _Read], about, valid_fraction: float, test_fraction: float
) -> Splits:
  rows = split.divide(
    _hashes(found["train"]),
    _labels(found["train"], about),
    valid_fraction=0.0 if "valid" in found else valid_fraction,
    test_fraction=0.0 if "test" in found else test_fraction,
  )
  train = [item for item, _ in found["train"].read]
  items = {
    name: [item for item, _ in part.read] for name, part in found.items()
  }
  items |= {
    name: [train[row] for row in chosen] for name, chosen in rows.items()
  }
  numbers = {label: i for i, label in enumerate(about["classes"])}
  reads = {
    name: functools.partial(
      _read,
      [os.fspath(item.path) for item in part],
      np.array([numbers[item.label] for item in part], np.int32),
      about["shape"],
    )
    for name, part in items.items()
  }
  some = split.sample(len(items["train"]))
  about = {**about, **split.statistics(reads["train"](some))}
  return Splits(
    **{
      name: split.streamed([item.name for item in items[name]], read, about)
      for name, read in reads.items()
    }
  )


def _labels(part: _Read, about: Mapping[str, Any]) -> np.ndarray:
  numbers = {label: i for i, label in enumerate(about["classes"])}
  return np.array([numbers[item.label] for item, _ in part.read], np.int32)


def _hashes(part: _Read) -> list[str]:
  return split.hash_names(item.name for item, _ in part.read)


def _read(
  paths: Sequence[str],
  labels: np.ndarray,
  shape: Sequence[int],
  indices: np.ndarray,
) -> dict[str, np.ndarray]:
  """Reads a batch of pictures; see `Source.read`."""
  try:
    pictures = [images.decode(pathlib.Path(paths[i]), shape) for i in indices]
  except images.UnreadableError as error:
    raise UserError(
      "expected pictures that can be read",
      f"got: {error}",
      "mend or remove it",
    ) from error
  return {"image": np.stack(pictures), "label": labels[indices]}

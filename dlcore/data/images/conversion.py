"""Conversions of images to one shape and range, and notes on them."""

import collections
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from dlcore.data.images import decoding

LARGE = 512
"""Rows or columns above which the common size of all images is reduced."""


class Conversion(NamedTuple):
  """Settings of the conversion; see `image_folder`."""

  image_size: int
  channels: int
  max_size: int
  resize: str
  interpolation: str
  value_range: Sequence[float]


def common_shape(
  headers: Sequence[decoding.Header],
  image_size: int,
  channels: int,
  *,
  max_size: int = 0,
  resize: str = "crop",
) -> tuple[list[int], list[str]]:
  """Returns the shape of all decoded images, and notes on the conversions.

  Args:
    headers: of the image files.
    image_size: rows and columns; 0 for those that `common_size` chooses.
    channels: 1 or 3; 0 for 1 if all images are gray, else 3.
    max_size: see `common_size`.
    resize: one of `decoding.RESIZE`.
  """
  if not headers:
    return [image_size or 1, image_size or 1, channels or 3], []
  sizes = collections.Counter(
    (header.height, header.width) for header in headers
  )
  height, width = common_size(sizes, max_size)
  if image_size:
    height = width = image_size
  channels = channels or (1 if all(header.is_gray for header in headers) else 3)
  notes = []
  total = len(headers)
  others = total - sizes[height, width]
  if others:
    change = "padded" if resize == "pad" else "cropped"
    notes.append(
      f"{others} of {total} images are scaled and {change} to {height} rows "
      f"and {width} columns ({image_size=}; {_describe(sizes)})"
    )
  target_mode = "L" if channels == 1 else "RGB"
  modes = collections.Counter(header.mode for header in headers)
  del modes[target_mode]
  if modes:
    formats = ", ".join(
      f"{count} {mode}" for mode, count in sorted(modes.items())
    )
    notes.append(
      f"{sum(modes.values())} of {total} images are converted to "
      f"{target_mode} ({formats}; {channels=})"
    )
  truncated = sum(
    header.mode.endswith(decoding.TRUNCATED) and not header.is_deep
    for header in headers
  )
  if truncated:
    notes.append(
      f"{truncated} of {total} images have several channels of 16 bits, of "
      "which the upper 8 are read"
    )
  return [height, width, channels], notes


def common_size(
  sizes: collections.Counter[tuple[int, int]], max_size: int
) -> tuple[int, int]:
  """Returns the rows and columns to which images of several sizes are resized.

  It is the size of more than half of the images, if that is at most 512 x 512.
  Otherwise it is a square of the median of their shorter sides, at most
  `max_size`.

  Args:
    sizes: number of images by rows and columns.
    max_size: 0 for the most frequent size, whatever it is.
  """
  size, count = max(sizes.items(), key=lambda item: (item[1], item[0]))
  has_majority = 2 * count > sizes.total()
  if not max_size or (has_majority and max(size) <= LARGE):
    return size
  shorter = statistics.median_low(min(size) for size in sizes.elements())
  side = min(shorter, max_size)
  return side, side


def _describe(sizes: collections.Counter[tuple[int, int]]) -> str:
  """Returns the most frequent sizes of the images, in words."""
  listed = [f"{n} of {y}x{x}" for (y, x), n in sizes.most_common(3)]
  more = len(sizes) - len(listed)
  return ", ".join(listed) + (f" and {more} other sizes" if more else "")


def describe_range(count: int, value_range: Sequence[float]) -> str:
  """Returns a note on the scale of the images of 16 or 32 bits."""
  low, high = value_range
  return (
    f"{count} images have 16 or 32 bits per pixel: their values {low:g} to "
    f"{high:g} become 0 to 255 (value_range)"
  )

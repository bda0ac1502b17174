"""Conversions of images to one shape and range, and notes on them."""

import collections
from collections.abc import Sequence

from dlcore.data.images import decoding


def common_shape(
  headers: Sequence[decoding.Header], image_size: int, channels: int
) -> tuple[list[int], list[str]]:
  """Returns the shape of all decoded images, and notes on the conversions.

  Args:
    headers: of the image files.
    image_size: rows and columns; 0 for the most frequent size.
    channels: 1 or 3; 0 for 1 if all images are gray, else 3.
  """
  if not headers:
    return [image_size or 1, image_size or 1, channels or 3], []
  sizes = collections.Counter(
    (header.height, header.width) for header in headers
  )
  height, width = max(sizes, key=lambda size: (sizes[size], size))
  if image_size:
    height = width = image_size
  channels = channels or (1 if all(header.is_gray for header in headers) else 3)
  notes = []
  total = len(headers)
  others = total - sizes[height, width]
  if others:
    notes.append(
      f"{others} of {total} images are scaled and cropped to {height} rows and "
      f"{width} columns ({image_size=})"
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


def describe_range(count: int, value_range: Sequence[float]) -> str:
  """Returns a note on the scale of the images of 16 or 32 bits."""
  low, high = value_range
  return (
    f"{count} images have 16 or 32 bits per pixel: their values {low:g} to "
    f"{high:g} become 0 to 255 (value_range)"
  )

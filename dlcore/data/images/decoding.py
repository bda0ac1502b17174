"""Decoding of image files to uint8 `[Y, X, C]`."""

import contextlib
import functools
import hashlib
import io
import math
import pathlib
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dlcore.data.images.opening import (
  DEEP_MODES,
  GRAY_MODES,
  UnreadableError,
  open_image,
  reason,
)

RESIZE = ("crop", "pad", "exact")
"""How an image gets another size, with its aspect ratio kept.

- crop: scaled to cover the size and cropped at the center. JPEG files are
  decoded at a half, quarter or eighth of their size if that is at least twice
  the size, in a fifth of the time.
- pad: scaled to fit into the size, and padded with black.
- exact: as crop, from all pixels, as version 0.2 did.
"""

INTERPOLATIONS = {
  "nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4,
  "hamming": 5,
}  # fmt: skip
"""Pillow's numbers of its filters, which average over the pixels of a smaller
image."""

LARGE_PIXELS = 16_000_000
"""Larger images are decoded one at a time, to bound the memory of threads."""

FULL_RANGE = (0.0, 65535.0)
"""`value_range` of `decode` that covers all values of 16 bits."""

TRUNCATED = ";16"
"""End of `Header.mode` if Pillow keeps only the upper 8 of 16 bits."""

ORIENTATION = 0x0112
"""EXIF tag of the orientation of the camera."""


class Header(NamedTuple):
  """Size and pixel format of an image file."""

  height: int
  """Rows, after the rotation that EXIF specifies."""

  width: int
  """Columns, likewise."""

  mode: str
  """Pillow's name of the pixel format, such as `"RGB"` or `"P"`; with `";16"`
  at its end if Pillow keeps only the upper 8 of 16 bits per channel."""

  @property
  def is_deep(self) -> bool:
    """Whether `decode` scales the values with its `value_range`."""
    return self.mode in DEEP_MODES

  @property
  def is_gray(self) -> bool:
    """Whether one channel represents the image without loss."""
    return self.mode.removesuffix(TRUNCATED) in GRAY_MODES


def header(file: pathlib.Path | BinaryIO) -> Header:
  """Reads the header of an image file.

  Raises:
    UnreadableError: it is not an image, of an unknown format or too large.
  """
  with open_image(file) as image:
    width, height = _stored_size(image)
    if _orientation(image) in (5, 6, 7, 8):
      width, height = height, width
    mode = image.mode
    if mode not in DEEP_MODES and _bits(image) == 16:
      mode += TRUNCATED
    return Header(height, width, mode)


def value_range(file: pathlib.Path) -> tuple[int, int]:
  """Returns the smallest and the largest value of an image of a deep mode.

  Raises:
    UnreadableError: it cannot be decoded.
  """
  with open_image(file) as image, _decoding_lock(image):
    values = np.asarray(image)
    return int(values.min()), int(values.max())


def decode(
  file: pathlib.Path | BinaryIO | bytes,
  shape: Sequence[int | None],
  value_range: Sequence[float] | None = None,
  resize: str = "exact",
  interpolation: str = "bilinear",
) -> np.ndarray:
  """Decodes an image to a given number of rows, columns and channels.

  It is rotated as EXIF specifies, composed onto white if it is transparent,
  converted to gray or RGB, and resized to `[Y, X]`. An image of that shape
  keeps its values.

  Args:
    file: path, open file or bytes.
    shape: `(Y, X, C)`, C 1 or 3; Y and X None keep the size of the image.
    value_range: values of a gray image of 16 or 32 bits that become 0 and 255;
      values outside of it are clipped. By default `FULL_RANGE`.
    resize: one of `RESIZE`.
    interpolation: a key of `INTERPOLATIONS`.

  Returns:
    uint8 `[Y, X, C]`.

  Raises:
    UnreadableError: it cannot be decoded.
  """
  from PIL import Image, ImageOps

  height, width, channels = shape
  size = (width, height) if height and width else None
  if isinstance(file, bytes):
    file = io.BytesIO(file)
  with open_image(file) as image, _decoding_lock(image):
    if size and resize != "exact":
      _reduce(image, size)
    if _orientation(image) != 1:
      image = ImageOps.exif_transpose(image)
    if image.mode in DEEP_MODES:
      values = scale(np.asarray(image), value_range or FULL_RANGE)
      image = Image.fromarray(values)
    image = _converted(image, "L" if channels == 1 else "RGB")
    if size and image.size != size:
      function = ImageOps.pad if resize == "pad" else ImageOps.fit
      method = Image.Resampling(INTERPOLATIONS[interpolation])
      image = function(image, size, method=method)
    array = np.asarray(image, np.uint8)
  return array[..., None] if array.ndim == 2 else array


def is_range(value: Any) -> bool:
  """Returns whether `value` is a valid `value_range` of `decode`."""
  numbers = isinstance(value, list | tuple) and len(value) == 2
  return (
    numbers
    and all(type(x) in (int, float) and math.isfinite(x) for x in value)
    and value[0] < value[1]
  )


def scale(values: np.ndarray, value_range: Sequence[float]) -> np.ndarray:
  """Maps integers `[Y, X]` from `value_range` to uint8, 0 to 255."""
  if values.dtype == np.uint16:  # A table bounds the memory of the floats.
    every = np.arange(1 << 16, dtype=np.int32)[None]
    return scale(every, value_range)[0][values]
  low, high = value_range
  step = max(high - low, 1) / 255
  scaled = np.empty(values.shape, np.uint8)
  rows = max(1, (1 << 20) // values.shape[1])
  for start in range(0, len(values), rows):
    piece = values[start : start + rows].astype(np.float64)
    scaled[start : start + rows] = np.rint((piece.clip(low, high) - low) / step)
  return scaled


def hash_decodable(file: pathlib.Path) -> str:
  """Decodes an image and returns a hash of the bytes of its file.

  Raises:
    UnreadableError: it cannot be decoded.
  """
  try:
    with file.open("rb") as stream:
      decode(stream, (1, 1, 3), resize="crop")  # Reads all of the file.
      stream.seek(0)
      digest = hashlib.file_digest(
        stream, functools.partial(hashlib.blake2b, digest_size=16)
      )
  except OSError as error:
    raise UnreadableError(reason(error)) from error
  return digest.hexdigest()


def _reduce(image, size: tuple[int, int]) -> None:
  """Lets a JPEG be decoded to the least of its sizes above twice `size`."""
  turned = _orientation(image) in (5, 6, 7, 8)
  width, height = size[::-1] if turned else size
  image.draft(None, (2 * width, 2 * height))


_large_image = threading.Lock()


def _decoding_lock(image) -> contextlib.AbstractContextManager:
  """Returns a lock for the decoding of a large image, else a null context."""
  large = image.width * image.height > LARGE_PIXELS
  return _large_image if large else contextlib.nullcontext()


def _stored_size(image) -> tuple[int, int]:
  """Returns width and height before the rotation that EXIF specifies."""
  if image.format == "TIFF":  # Recent versions of Pillow have swapped them.
    width, height = 256, 257
    return image.tag_v2[width], image.tag_v2[height]
  return image.size


def _bits(image) -> int:
  """Returns 16 if the channels of the file have 16 bits each, else 8."""
  for tile in image.tile[:1]:
    rawmode = tile[3][0] if isinstance(tile[3], tuple) else tile[3]
    if ";16" in str(rawmode):
      return 16
  return 8


def _orientation(image) -> int:
  # Pillow decodes all of a PNG to search for EXIF data after the pixels.
  if image.format == "PNG" and "exif" not in image.info:
    return 1
  return image.getexif().get(ORIENTATION, 1)


def _converted(image, mode: str):
  """Returns the image in mode `"L"` or `"RGB"`."""
  from PIL import Image

  if image.mode == mode:
    return image
  if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (
    "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
  ):
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(background, image)
  return image.convert(mode) if image.mode != mode else image

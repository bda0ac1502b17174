"""Decoding of image files to uint8 `[Y, X, C]`."""

import contextlib
import hashlib
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded."""

GRAY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I")
READ_MODES = (*GRAY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK",
              "YCbCr", "LAB", "HSV")  # fmt: skip

ORIENTATION = 0x0112
"""EXIF tag of the orientation of the camera."""


class Header(NamedTuple):
  """Size and pixel format of an image file."""

  height: int
  """Rows, after the rotation that EXIF specifies."""

  width: int
  """Columns, likewise."""

  mode: str
  """Pillow's name of the pixel format, such as `"RGB"` or `"P"`."""

  @property
  def is_gray(self) -> bool:
    """Whether one channel represents the image without loss."""
    return self.mode in GRAY_MODES


class UnreadableError(Exception):
  """An image cannot be read; the message is the reason."""


def header(file: pathlib.Path | BinaryIO) -> Header:
  """Reads the header of an image file.

  Raises:
    UnreadableError: it is not an image, of an unknown format or too large.
  """
  with _opened(file) as image:
    width, height = image.size
    if _orientation(image) in (5, 6, 7, 8):
      width, height = height, width
    return Header(height, width, image.mode)


def decode(
  file: pathlib.Path | BinaryIO | bytes, shape: Sequence[int | None]
) -> np.ndarray:
  """Decodes an image to a given number of rows, columns and channels.

  It is rotated as EXIF specifies, composed onto white if it is transparent,
  converted to gray or RGB, scaled to cover `[Y, X]` and cropped at the center,
  which keeps the aspect ratio. An image of that shape keeps its values.

  Args:
    file: path, open file or bytes.
    shape: `(Y, X, C)`, C 1 or 3; Y and X None keep the size of the image.

  Returns:
    uint8 `[Y, X, C]`.

  Raises:
    UnreadableError: it cannot be decoded.
  """
  from PIL import Image, ImageOps

  height, width, channels = shape
  if isinstance(file, bytes):
    file = io.BytesIO(file)
  with _opened(file) as image:
    if _orientation(image) != 1:
      image = ImageOps.exif_transpose(image)
    image = _converted(image, "L" if channels == 1 else "RGB")
    if height and width and image.size != (width, height):
      bilinear = Image.Resampling.BILINEAR
      image = ImageOps.fit(image, (width, height), method=bilinear)
    array = np.asarray(image, np.uint8)
  return array[..., None] if array.ndim == 2 else array


def hash_decodable(file: pathlib.Path) -> str:
  """Decodes an image and returns a hash of the bytes of its file.

  Raises:
    UnreadableError: it cannot be decoded.
  """
  try:
    content = file.read_bytes()
  except OSError as error:
    raise UnreadableError(_reason(error)) from error
  decode(content, (None, None, 3))
  return hashlib.blake2b(content, digest_size=16).hexdigest()


@contextlib.contextmanager
def _opened(file: pathlib.Path | BinaryIO) -> Iterator[Any]:
  """Opens an image; every error of Pillow becomes an `UnreadableError`.

  Malformed files make Pillow raise nearly anything, hence the broad `except`.
  """
  from PIL import Image

  try:
    with Image.open(file) as image:
      if image.width * image.height > MAX_PIXELS:
        raise UnreadableError(
          f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}"
        )
      if image.mode not in READ_MODES:
        raise UnreadableError(f"unknown pixel format {image.mode!r}")
      yield image
  except UnreadableError:
    raise
  except Exception as error:
    raise UnreadableError(_reason(error)) from error


def _orientation(image) -> int:
  # Pillow decodes all of a PNG to search for EXIF data after the pixels.
  if image.format == "PNG" and "exif" not in image.info:
    return 1
  return image.getexif().get(ORIENTATION, 1)


def _reason(error: Exception) -> str:
  if isinstance(error, FileNotFoundError):
    return "no such file"
  if type(error).__name__ == "UnidentifiedImageError":
    return "not an image that can be read"
  return str(error).splitlines()[0] if str(error) else type(error).__name__


def _converted(image, mode: str):
  """Returns the image in mode `"L"` or `"RGB"`."""
  from PIL import Image

  if image.mode == mode:
    return image
  if image.mode.startswith("I"):
    # For 16 bits per pixel Pillow would clip the values at 255.
    deep = np.asarray(image).astype(np.float64)
    image = Image.fromarray(np.rint(deep.clip(0, 65535) / 257).astype(np.uint8))
  if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (
    "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
  ):
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(background, image)
  return image.convert(mode) if image.mode != mode else image

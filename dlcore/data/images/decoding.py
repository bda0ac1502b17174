"""Decoding of image files to uint8 `[Y, X, C]`."""

import contextlib
import functools
import hashlib
import io
import math
import os
import pathlib
import stat
import threading
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

FORMATS = {
  "AVIF": (".avif",),
  "BMP": (".bmp",),
  "GIF": (".gif",),
  "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
  "JPEG2000": (".j2c", ".j2k", ".jp2", ".jpc", ".jpf", ".jpx"),
  "PNG": (".apng", ".png"),
  "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
  "QOI": (".qoi",),
  "TIFF": (".tif", ".tiff"),
  "WEBP": (".webp",),
}
"""Formats that are read and the suffixes of their files.

The content of a file decides its format. Each of these has a signature and is
decoded inside of the process: for EPS, Pillow would start Ghostscript.
"""

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded."""

MAX_FILE_BYTES = 1 << 29
"""Larger image files are refused; some decoders read all of a file."""

LARGE_PIXELS = 16_000_000
"""Larger images are decoded one at a time, to bound the memory of threads."""

FULL_RANGE = (0.0, 65535.0)
"""`value_range` of `decode` that covers all values of 16 bits."""

DEEP_MODES = ("I;16", "I;16B", "I;16L", "I")
"""Pixel formats of one channel with 16 or 32 bits."""

GRAY_MODES = ("1", "L", "LA", "La", *DEEP_MODES)
READ_MODES = (*GRAY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK",
              "YCbCr", "LAB", "HSV")  # fmt: skip

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


class UnreadableError(Exception):
  """An image cannot be read; the message is the reason."""


def header(file: pathlib.Path | BinaryIO) -> Header:
  """Reads the header of an image file.

  Raises:
    UnreadableError: it is not an image, of an unknown format or too large.
  """
  with _opened(file) as image:
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
  with _opened(file) as image, _decoding_lock(image):
    values = np.asarray(image)
    return int(values.min()), int(values.max())


def decode(
  file: pathlib.Path | BinaryIO | bytes,
  shape: Sequence[int | None],
  value_range: Sequence[float] | None = None,
) -> np.ndarray:
  """Decodes an image to a given number of rows, columns and channels.

  It is rotated as EXIF specifies, composed onto white if it is transparent,
  converted to gray or RGB, scaled to cover `[Y, X]` and cropped at the center,
  which keeps the aspect ratio. An image of that shape keeps its values.

  Args:
    file: path, open file or bytes.
    shape: `(Y, X, C)`, C 1 or 3; Y and X None keep the size of the image.
    value_range: values of a gray image of 16 or 32 bits that become 0 and 255;
      values outside of it are clipped. By default `FULL_RANGE`.

  Returns:
    uint8 `[Y, X, C]`.

  Raises:
    UnreadableError: it cannot be decoded.
  """
  from PIL import Image, ImageOps

  height, width, channels = shape
  if isinstance(file, bytes):
    file = io.BytesIO(file)
  with _opened(file) as image, _decoding_lock(image):
    if _orientation(image) != 1:
      image = ImageOps.exif_transpose(image)
    if image.mode in DEEP_MODES:
      values = scale(np.asarray(image), value_range or FULL_RANGE)
      image = Image.fromarray(values)
    image = _converted(image, "L" if channels == 1 else "RGB")
    if height and width and image.size != (width, height):
      bilinear = Image.Resampling.BILINEAR
      image = ImageOps.fit(image, (width, height), method=bilinear)
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
      decode(stream, (None, None, 3))
      stream.seek(0)
      digest = hashlib.file_digest(
        stream, functools.partial(hashlib.blake2b, digest_size=16)
      )
  except OSError as error:
    raise UnreadableError(_reason(error)) from error
  return digest.hexdigest()


@contextlib.contextmanager
def _opened(file: pathlib.Path | BinaryIO) -> Iterator[Any]:
  """Opens an image; every error of Pillow becomes an `UnreadableError`.

  Malformed files make Pillow raise nearly anything, hence the broad `except`.
  """
  from PIL import Image

  try:
    with (
      _stream(file) as stream,
      Image.open(stream, formats=_formats()) as image,
    ):
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


@functools.cache
def _formats() -> list[str]:
  """Returns the names of `FORMATS` that the installed Pillow reads."""
  from PIL import Image

  Image.init()
  return [name for name in FORMATS if name in Image.OPEN]


@contextlib.contextmanager
def _stream(file: pathlib.Path | BinaryIO) -> Iterator[BinaryIO]:
  """Opens a path, and checks the size of the file.

  From a path, Pillow would map uncompressed TIFF files into memory, which
  garbles those that EXIF rotates.
  """
  with contextlib.ExitStack() as stack:
    if isinstance(file, pathlib.Path):
      if not stat.S_ISREG(file.stat().st_mode):  # Opening a pipe would wait.
        raise UnreadableError("not a plain file")
      file = stack.enter_context(file.open("rb"))
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > MAX_FILE_BYTES:
      raise UnreadableError(f"{size:,} bytes, more than {MAX_FILE_BYTES:,}")
    yield file


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
  if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (
    "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
  ):
    image = image.convert("RGBA")
    background = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(background, image)
  return image.convert(mode) if image.mode != mode else image

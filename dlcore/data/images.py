"""One picture: from the bytes of a file to uint8 `[Y, X, C]`."""

import contextlib
import hashlib
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

MOST_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded."""

GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I")
READ_MODES = (*GREY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK",
              "YCbCr", "LAB", "HSV")  # fmt: skip

ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held."""


class Header(NamedTuple):
  """What the header of a picture says."""

  height: int
  """In rows, after turning it as EXIF says."""

  width: int
  """In columns."""

  mode: str
  """Pillow's name of the pixel format, such as `"RGB"` or `"P"`."""

  @property
  def grey(self) -> bool:
    """Whether one channel holds all of it."""
    return self.mode in GREY_MODES


class UnreadableError(Exception):
  """A picture cannot be read; the text says why."""


def header(file: pathlib.Path | BinaryIO) -> Header:
  """Reads the header of a picture.

  Raises:
    UnreadableError: it is no picture, of an unknown kind, or too large.
  """
  with _opened(file) as image:
    width, height = image.size
    if _orientation(image) in (5, 6, 7, 8):
      width, height = height, width
    return Header(height, width, image.mode)


def decode(
  file: pathlib.Path | BinaryIO | bytes, shape: Sequence[int | None]
) -> np.ndarray:
  """Decodes a picture to a given number of rows, columns and channels.

  It is turned as EXIF says, put on white where it is transparent, converted to
  grey or RGB, scaled to cover `[Y, X]` and cut at the centre: nothing is
  stretched. A picture that has the shape already keeps its values.

  Args:
    file: path, open file, or the bytes.
    shape: `(Y, X, C)`, C 1 or 3; Y and X None keep the picture's own size.

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


def checked(file: pathlib.Path) -> str:
  """Decodes a picture and returns a hash of the bytes of its file.

  Raises:
    UnreadableError: it cannot be decoded.
  """
  try:
    content = file.read_bytes()
  except OSError as error:
    raise UnreadableError(_reason(error)) from error
  decode(content, (None, None, 3))
  return hashlib.blake2b(content, digest_size=16).hexdigest()


def read_images(
  paths: Sequence[pathlib.Path | str], about: Mapping[str, Any]
) -> tuple[np.ndarray, list[tuple[str, str]]]:
  """Reads pictures as a model wants them that was trained on `about`.

  Args:
    paths: of the files.
    about: of the source that it was trained on; `shape` is used.

  Returns:
    uint8 `[N, Y, X, C]` of the readable ones in order, and the others as pairs
    (path, reason).
  """
  read, bad = [], []
  for path in paths:
    try:
      read.append(decode(pathlib.Path(path), about["shape"]))
    except UnreadableError as error:
      bad.append((str(path), str(error)))
  empty = np.zeros((0, *about["shape"]), np.uint8)
  return (np.stack(read) if read else empty), bad


@contextlib.contextmanager
def _opened(file: pathlib.Path | BinaryIO) -> Iterator[Any]:
  """Opens a picture; what Pillow says of a bad one is `UnreadableError`.

  Bad files make Pillow raise nearly anything, hence the broad `except`.
  """
  from PIL import Image

  try:
    with Image.open(file) as image:
      if image.width * image.height > MOST_PIXELS:
        raise UnreadableError(
          f"{image.width} x {image.height} pixels, more than {MOST_PIXELS:,}"
        )
      if image.mode not in READ_MODES:
        raise UnreadableError(f"pixels of the kind {image.mode!r}")
      yield image
  except UnreadableError:
    raise
  except Exception as error:
    raise UnreadableError(_reason(error)) from error


def _orientation(image) -> int:
  # Pillow decodes all of a PNG to look for EXIF data behind the pixels.
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
  """Returns the picture in mode `"L"` or `"RGB"`."""
  from PIL import Image

  if image.mode == mode:
    return image
  if image.mode.startswith("I"):
    # Sixteen bits a pixel: Pillow would cut the values at 255.
    deep = np.asarray(image).astype(np.float64)
    image = Image.fromarray(np.rint(deep.clip(0, 65535) / 257).astype(np.uint8))
  if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or (
    "transparency" in image.info and image.mode in ("1", "L", "P", "RGB")
  ):
    image = image.convert("RGBA")
    paper = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(paper, image)
  return image.convert(mode) if image.mode != mode else image

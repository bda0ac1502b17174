"""Opening of image files: formats, bounds, and one error for damaged files."""

import contextlib
import functools
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

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

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
"""Suffixes of the photos of phones, which `pillow_heif` decodes."""

HEIF_PACKAGE = "pillow-heif (extra heif)"

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded."""

MAX_FILE_BYTES = 1 << 29
"""Larger image files are refused; some decoders read all of a file."""

DEEP_MODES = ("I;16", "I;16B", "I;16L", "I")
"""Pixel formats of one channel with 16 or 32 bits."""

GRAY_MODES = ("1", "L", "LA", "La", *DEEP_MODES)
READ_MODES = (*GRAY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK",
              "YCbCr", "LAB", "HSV")  # fmt: skip


class UnreadableError(Exception):
  """An image cannot be read; the message is the reason."""


@functools.cache
def formats() -> list[str]:
  """Returns the names of the formats that the installed packages read."""
  from PIL import Image

  Image.init()
  with contextlib.suppress(ImportError):
    import pillow_heif  # pyright: ignore[reportMissingImports]

    pillow_heif.register_heif_opener()
  return [name for name in (*FORMATS, "HEIF") if name in Image.OPEN]


@functools.cache
def suffixes() -> frozenset[str]:
  """Returns the suffixes of image files, in lower case."""
  heif = HEIF_SUFFIXES if "HEIF" in formats() else ()
  return frozenset().union(*FORMATS.values(), heif)


@contextlib.contextmanager
def open_image(file: pathlib.Path | BinaryIO) -> Iterator[Any]:
  """Opens an image without decoding it.

  Raises:
    UnreadableError: for every error of Pillow, also inside of the context.
      Malformed files make it raise nearly anything, hence the broad `except`.
  """
  from PIL import Image

  try:
    with (
      _stream(file) as stream,
      Image.open(stream, formats=formats()) as image,
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
    raise UnreadableError(reason(error, file)) from error


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


def reason(error: Exception, file: Any = None) -> str:
  """Returns the first line of an error that reading an image raised."""
  if isinstance(error, FileNotFoundError):
    return "no such file"
  if type(error).__name__ == "UnidentifiedImageError":
    suffix = file.suffix.lower() if isinstance(file, pathlib.Path) else ""
    if suffix in HEIF_SUFFIXES and suffix not in suffixes():
      return f"only {HEIF_PACKAGE} reads it"
    return "not an image that can be read"
  return str(error).splitlines()[0] if str(error) else type(error).__name__

"""Pictures inside the page: PNG data URIs, without an image library."""

import base64
import struct
import zlib

import numpy as np

MAX_SIDE = 96
"""Pixels on the longer side of a thumbnail."""

GRAY, RGB, RGBA = 0, 2, 6
"""Color types of the PNG format."""


def data_uri(pixels: np.ndarray) -> str:
  """Returns a PNG of uint8 `[Y, X]`, `[Y, X, 3]` or `[Y, X, 4]`."""
  rows, columns = pixels.shape[:2]
  color = GRAY if pixels.ndim == 2 else {3: RGB, 4: RGBA}[pixels.shape[2]]
  header = struct.pack(">IIBBBBB", columns, rows, 8, color, 0, 0, 0)
  lines = pixels.reshape(rows, -1)
  # Each row starts with the number of its filter; 0 is unfiltered.
  body = zlib.compress(np.pad(lines, ((0, 0), (1, 0))).tobytes(), 6)
  chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
  png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)
  return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def thumbnail(image: np.ndarray) -> np.ndarray:
  """Returns a small gray or color version of a uint8 image `[Y, X, C]`.

  A number of channels other than 3 or 4 is averaged; a large image is reduced
  by averages over squares.
  """
  image = image.astype(np.float32)
  if image.shape[2] not in (3, 4):
    image = image.mean(-1, keepdims=True)
  stride = max(1, -(-max(image.shape[:2]) // MAX_SIDE))
  for axis in (0, 1):
    size = image.shape[axis]
    starts = np.arange(0, size, stride)
    widths = np.diff(np.append(starts, size))
    shape = [-1 if i == axis else 1 for i in range(3)]
    image = np.add.reduceat(image, starts, axis) / widths.reshape(shape)
  image = np.rint(image).astype(np.uint8)
  return image[..., 0] if image.shape[2] == 1 else image


def _chunk(name: bytes, body: bytes) -> bytes:
  checksum = zlib.crc32(name + body)
  length = struct.pack(">I", len(body))
  return length + name + body + struct.pack(">I", checksum)

"""Pictures inside the page: PNG as a data URI, without an image library."""

import base64
import struct
import zlib

import numpy as np

LARGEST = 96
"""Pixels on the longer side of a thumbnail."""


def data_uri(pixels: np.ndarray) -> str:
  """Returns a PNG of uint8 `[Y, X]`, `[Y, X, 3]` or `[Y, X, 4]`."""
  rows, columns = pixels.shape[:2]
  colour = 0 if pixels.ndim == 2 else {3: 2, 4: 6}[pixels.shape[2]]
  head = struct.pack(">IIBBBBB", columns, rows, 8, colour, 0, 0, 0)
  lines = pixels.reshape(rows, -1)
  # Every row begins with its filter; 0 is none.
  body = zlib.compress(np.pad(lines, ((0, 0), (1, 0))).tobytes(), 6)
  png = b"\x89PNG\r\n\x1a\n" + b"".join(
    _chunk(*part) for part in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
  )
  return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, body: bytes) -> bytes:
  check = zlib.crc32(kind + body)
  return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def thumbnail(image: np.ndarray) -> np.ndarray:
  """Returns a small grey or colour image of uint8 `[Y, X, C]`.

  Channels other than 3 or 4 are averaged; large images are shrunk by means
  over squares.
  """
  image = image.astype(np.float32)
  if image.shape[2] not in (3, 4):
    image = image.mean(-1, keepdims=True)
  for axis in (0, 1):
    size = image.shape[axis]
    starts = np.arange(0, size, -(-max(image.shape[:2]) // LARGEST) or 1)
    if len(starts) < size:
      widths = np.diff(np.append(starts, size))
      shape = [-1 if i == axis else 1 for i in range(3)]
      image = np.add.reduceat(image, starts, axis) / widths.reshape(shape)
  image = np.rint(image).astype(np.uint8)
  return image[..., 0] if image.shape[2] == 1 else image

"""Replacements for TensorFlow inside TensorFlow Datasets during preparation.

TFDS accesses TensorFlow through one lazy module object, for files and for the
encoding of images alone. During preparation that object holds a stand-in with
these functions. Downloads go through another lazy object, `requests`, where
they are announced or refused.
"""

import contextlib
import glob
import io
import logging
import os
import struct
import threading
import types
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.images import decoding
from dlcore.errors import UserError

CONNECT_TIMEOUT = 3.0
"""Seconds without an answer after which the machine counts as offline."""

logger = logging.getLogger("dlcore")


@contextlib.contextmanager
def stand_ins(session: Callable[[], Any]) -> Iterator[None]:
  """Puts stand-ins for TensorFlow and requests into TFDS's lazy modules.

  Args:
    session: replaces the class `requests.Session`.
  """
  import requests
  import requests.adapters
  from tensorflow_datasets.core.utils import lazy_imports_utils as lazy

  space = types.SimpleNamespace
  files = space(
    GFile=open,
    exists=os.path.exists,
    glob=lambda pattern: sorted(glob.glob(pattern)),
    remove=os.remove,
    copy=_refuse_copy,
  )
  tensorflow = space(
    executing_eagerly=lambda: True,
    io=space(gfile=files),
    image=space(
      encode_png=encode_png,
      encode_jpeg=_encode_jpeg,
      decode_png=_decode,
      decode_jpeg=_decode,
    ),
    compat=space(as_text=os.fsdecode),
    errors=space(
      ResourceExhaustedError=_NeverError, UnimplementedError=_NeverError
    ),
  )
  network = space(
    Session=session, packages=requests.packages, adapters=requests.adapters
  )
  replaced = [
    (lazy.tensorflow.__dict__, tensorflow),
    (lazy.requests.__dict__, network),
  ]
  originals = [attributes.get("_module") for attributes, _ in replaced]
  for attributes, stand_in in replaced:
    attributes["_module"] = stand_in
  try:
    yield
  finally:
    for (attributes, _), module in zip(replaced, originals, strict=True):
      if module is None:
        del attributes["_module"]
      else:
        attributes["_module"] = module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Suppresses the output, log and warnings of TFDS."""
  absl = logging.getLogger("absl")
  level = absl.level
  absl.setLevel(logging.ERROR)
  try:
    with (
      contextlib.redirect_stdout(io.StringIO()),
      warnings.catch_warnings(action="ignore"),
    ):
      yield
  finally:
    absl.setLevel(level)


class _NeverError(Exception):
  """Replaces TensorFlow's errors and is never raised."""


class _Eager:
  """The part of an eager tensor that TFDS uses."""

  def __init__(self, value):
    self.value = value

  def numpy(self):
    """Returns the value."""
    return self.value


def encode_png(image: np.ndarray) -> _Eager:
  """Encodes uint8 or uint16 `[Y, X, C]` as PNG (RFC 2083), without filters.

  Four times as fast as Pillow for the small images of most data sets.
  """
  rows, columns, channels = image.shape
  kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
  depth = image.dtype.itemsize
  lines = np.zeros((rows, 1 + columns * channels * depth), np.uint8)
  pixels = np.ascontiguousarray(image.astype(f">u{depth}"))
  lines[:, 1:] = pixels.view(np.uint8).reshape(rows, -1)
  header = struct.pack(">IIBBBBB", columns, rows, 8 * depth, kind, 0, 0, 0)
  chunks = {b"IHDR": header, b"IDAT": zlib.compress(lines, 1), b"IEND": b""}
  content = b"\x89PNG\r\n\x1a\n"
  for name, body in chunks.items():
    check = zlib.crc32(name + body)
    content += struct.pack(">I", len(body)) + name + body
    content += struct.pack(">I", check)
  return _Eager(content)


def _encode_jpeg(image: np.ndarray, format="", quality=95) -> _Eager:  # noqa: A002
  from PIL import Image

  del format
  image = image[..., 0] if image.shape[-1] == 1 else image
  stream = io.BytesIO()
  Image.fromarray(image).save(stream, "jpeg", quality=quality)
  return _Eager(stream.getvalue())


def _decode(content: bytes, channels: int = 3) -> _Eager:
  return _Eager(decoding.decode(content, (None, None, channels)))


def _refuse_copy(source, target):
  raise UserError(f"expected an http address, got {source!r} for {target}")


class _Files(NamedTuple):
  """The original files of a data set, for messages."""

  title: str
  """Name and size."""

  names: tuple[str, ...]

  @classmethod
  def of(cls, builder: Any, url: str) -> "_Files":
    """Returns the files that a builder registers.

    Builders with several configs, such as GLUE, register the files of all: the
    one at `url` stands for those of this config.
    """
    infos = builder.url_infos or {}
    if len(builder.builder_configs) > 1:
      infos = {key: info for key, info in infos.items() if key == url}
    size = sum(int(info.size) for info in infos.values())
    names = sorted({info.filename or "" for info in infos.values()} - {""})
    of_size = f" ({size / 2**20:.1f} MiB)" if size else ""
    return cls(f"{builder.name}{of_size}", tuple(names))

  @property
  def remedy(self) -> str:
    """How to load the data set without network."""
    files = ", ".join(self.names) or "its files"
    return f"set manual_dir to a folder that holds {files}"


def sessions(builder, manual_dir: str, download: bool) -> Callable[[], Any]:
  """Returns a replacement for the class `requests.Session`.

  It raises a UserError if downloads are not allowed or no server answers.

  Args:
    builder: of TFDS.
    manual_dir: for the message.
    download: whether downloads are allowed.
  """
  import requests

  # During preparation the builder's own `data_dir` is temporary.
  folder = str(builder.data_dir)
  lock, announced = threading.Lock(), set()

  class Session(requests.Session):
    """Checks the connection and announces the first download."""

    def get(self, url, **settings):  # pyright: ignore
      host = str(url).split("/")[2]
      files = _Files.of(builder, str(url))
      if not download:
        raise UserError(
          f"expected {files.title} on this machine, as download=False",
          f"got only a part of it from {manual_dir=}",
          files.remedy,
        )
      with lock:
        if not announced and not _answers(url):
          raise UserError(
            f"expected to download {files.title}",
            f"got no answer from {host}",
            files.remedy,
          )
        if not announced:
          announced.add(host)
          logger.warning(
            "downloading %s from %s for %s", files.title, host, folder
          )
      return super().get(url, **settings)

  return Session


def _answers(url: str) -> bool:
  """Returns whether a server answers in time.

  The request runs in a thread, as name resolution has no timeout.
  """
  import requests

  answers = []

  def ask():
    with contextlib.suppress(requests.RequestException):
      requests.head(url, timeout=CONNECT_TIMEOUT)
      answers.append(True)

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(CONNECT_TIMEOUT)
  return bool(answers)

"""What TensorFlow Datasets finds in place of TensorFlow while it prepares.

Its code reaches TensorFlow through one lazy module object for a few things:
files, and the encoding of images. For a while that object holds a stand-in with
just these. Downloads go through another such object, `requests`, which is where
they are announced or refused.
"""

import contextlib
import io
import logging
import os
import struct
import threading
import types
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlcore.data import images
from dlcore.errors import UserError

SECONDS_TO_ANSWER = 3.0
"""How long a server may be silent before the machine counts as offline."""

logger = logging.getLogger("dlcore")


@contextlib.contextmanager
def stand_ins(session: Callable[[], Any]) -> Iterator[None]:
  """Holds stand-ins for TensorFlow and requests in TFDS's lazy modules.

  Args:
    session: makes what is used in place of a `requests.Session`.
  """
  import requests
  import requests.adapters
  from tensorflow_datasets.core.utils import lazy_imports_utils as lazy

  space = types.SimpleNamespace
  files = space(
    GFile=open, exists=os.path.exists, remove=os.remove, copy=_refuse_copy
  )
  tensorflow = space(
    executing_eagerly=lambda: True,
    io=space(gfile=files),
    image=space(
      encode_png=_encode_png,
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
  held = [
    (lazy.tensorflow.__dict__, tensorflow),
    (lazy.requests.__dict__, network),
  ]
  before = [space_of.get("_module") for space_of, _ in held]
  for space_of, stand_in in held:
    space_of["_module"] = stand_in
  try:
    yield
  finally:
    for (space_of, _), module in zip(held, before, strict=True):
      if module is None:
        del space_of["_module"]
      else:
        space_of["_module"] = module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Keeps what TFDS prints, logs and warns of from the user's terminal."""
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
  """Stands for TensorFlow's errors, which nothing here raises."""


class _Eager:
  """What TensorFlow's eager functions return, as far as TFDS looks at it."""

  def __init__(self, value):
    self.value = value

  def numpy(self):
    """Returns the value."""
    return self.value


def _encode_png(image: np.ndarray) -> _Eager:
  """Writes uint8 or uint16 `[Y, X, C]` as PNG.

  Four times as fast as Pillow for the small pictures that most sets hold; the
  format is that of RFC 2083, every row unfiltered.
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
  return _Eager(images.decode(content, (None, None, channels)))


def _refuse_copy(source, target):
  raise UserError(f"expected an http address, got {source!r} for {target}")


def sessions(builder, manual_dir: str, download: bool) -> Callable[[], Any]:
  """Returns what stands in for `requests.Session`.

  Raises:
    UserError: (the returned function) downloads are forbidden, or no server
      answers.
  """
  import requests

  registered = builder.url_infos or {}
  size = sum(int(info.size) for info in registered.values())
  names = sorted({info.filename or "" for info in registered.values()} - {""})
  what = f"{builder.name} ({size / 2**20:.1f} MiB)" if size else builder.name
  todo = "set data.manual_dir to a folder that holds " + (
    ", ".join(names) if names else "its files"
  )
  # While it prepares, the builder's own `data_dir` is a temporary one.
  folder = str(builder.data_dir)
  lock, said = threading.Lock(), set()

  class Session(requests.Session):
    """Asks first whether there is a network, and says what it will get."""

    def get(self, url, **settings):  # pyright: ignore
      host = str(url).split("/")[2]
      with lock:
        if not said and not _answers(url):
          raise UserError(
            f"expected to download {what}", f"got no answer from {host}", todo
          )
        if not said:
          said.add(host)
          logger.warning("downloading %s from %s for %s", what, host, folder)
      return super().get(url, **settings)

  def refuse():
    raise UserError(
      f"expected {what} on this machine, as data.download=false",
      f"got not all of it from data.manual_dir={manual_dir!r}",
      todo,
    )

  return Session if download else refuse


def _answers(url: str) -> bool:
  """Whether a server answers in time; asked in a thread, as the look-up of a
  name knows no time limit.
  """
  import requests

  answers = []

  def ask():
    with contextlib.suppress(requests.RequestException):
      requests.head(url, timeout=SECONDS_TO_ANSWER)
      answers.append(True)

  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(SECONDS_TO_ANSWER)
  return bool(answers)

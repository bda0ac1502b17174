"""Prepares stock TensorFlow Datasets builders without TensorFlow.

Their code reaches TensorFlow through one lazy module object for a few things:
files, and the encoding of images. While a builder prepares, that object holds a
stand-in with just these. Downloads go through another such object, `requests`,
which is where they are announced or refused.
"""

import contextlib
import io
import logging
import os
import pathlib
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlcore.errors import UserError, nearest

SECONDS_TO_ANSWER = 3.0
"""How long a server may be silent before the machine counts as offline."""

logger = logging.getLogger("dlcore")
_one_at_a_time = threading.Lock()


def prepared(
  name: str,
  *,
  data_dir: pathlib.Path,
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
):
  """Returns a builder whose records lie ready in `data_dir`.

  Args:
    name: of the builder, as TFDS writes it: `"mnist"`, `"name/config:1.0.0"`.
    data_dir: where TFDS keeps what it prepared.
    manual_dir: folder with files that were downloaded by hand; they are taken
      by their names, and their checksums are verified.
    download: whether what is not there may be downloaded.
    verify: False takes files from `manual_dir` whose checksums differ.

  Raises:
    UserError: the builder is unknown, something cannot or may not be
      downloaded, a checksum differs, or the prepared folder is damaged.
  """
  builder = _builder(name, data_dir)
  if builder.is_prepared():
    return builder
  if builder.data_path.exists():
    raise UserError(
      f"expected the finished data set {name!r}",
      f"got a folder without its description: {builder.data_path}",
      "delete that folder; it is prepared again",
    )
  if manual_dir and not pathlib.Path(manual_dir).expanduser().is_dir():
    raise UserError(
      "expected data.manual_dir to be a folder", f"got {manual_dir!r}"
    )
  with _one_at_a_time, _only_process(data_dir):
    _prepare(builder, manual_dir, download=download, verify=verify)
  return _builder(name, data_dir)


def _builder(name: str, data_dir: pathlib.Path):
  import tensorflow_datasets as tfds

  try:
    with _quiet():
      return tfds.builder(
        name, data_dir=os.fspath(data_dir), file_format="array_record"
      )
  except tfds.core.registered.DatasetNotFoundError as error:
    known = tfds.list_builders(with_community_datasets=False)
    hint = nearest(name, known) if name else ""
    raise UserError(
      "expected data.builder to be a data set of tensorflow-datasets",
      f"got {name!r}",
      hint if hint.startswith("did") else "see tfds.list_builders()",
    ) from error
  except ImportError as error:
    raise UserError(
      f"expected {name!r} to work without more packages",
      f"got: {str(error).splitlines()[0]}",
      "install what is missing (TensorFlow is not used)",
    ) from error


def _prepare(builder, manual_dir: str, *, download: bool, verify: bool) -> None:
  import tensorflow_datasets as tfds

  config = tfds.download.DownloadConfig(
    manual_dir=os.path.expanduser(manual_dir) or None, try_download_gcs=False
  )
  logger.info("preparing %s in %s", builder.name, builder.data_dir)
  tfds.disable_progress_bar()
  try:
    with (
      _stand_ins(_sessions(builder, manual_dir, download)),
      contextlib.nullcontext()
      if verify
      else _own_checksums(builder, manual_dir),
      _quiet(),
    ):
      _allow_many_files()
      builder.download_and_prepare(download_config=config)
  except tfds.download.download_manager.NonMatchingChecksumError as error:
    raise UserError(
      f"expected the files of {builder.name} with the checksums that "
      "tensorflow-datasets registers",
      "got " + " ".join(str(error).split("\nTo debug")[0].split()),
      "download the file again, or take it as it is with data.verify=false",
    ) from error
  except ImportError as error:
    raise UserError(
      f"expected {builder.name} to be preparable without more packages",
      f"got: {str(error).splitlines()[0]}",
      "install what is missing (TensorFlow is not used)",
    ) from error
  except AssertionError as error:
    # TFDS's word for "download this by hand": the text tells what and where.
    if "manual" not in str(error).lower():
      raise
    raise UserError(
      f"expected data.manual_dir to hold the files of {builder.name}",
      f"got {manual_dir!r}",
      " ".join((builder.MANUAL_DOWNLOAD_INSTRUCTIONS or str(error)).split()),
    ) from error


@contextlib.contextmanager
def _stand_ins(session: Callable[[], Any]) -> Iterator[None]:
  """Holds stand-ins for TensorFlow and requests in TFDS's lazy modules."""
  import requests
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
  held = [(vars(lazy.tensorflow), tensorflow), (vars(lazy.requests), network)]
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
def _quiet() -> Iterator[None]:
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
  return _encode(image, "png", compress_level=1)


def _encode_jpeg(image: np.ndarray, format="", quality=95) -> _Eager:  # noqa: A002
  del format
  return _encode(image, "jpeg", quality=quality)


def _encode(image: np.ndarray, kind: str, **settings) -> _Eager:
  from PIL import Image

  image = image[..., 0] if image.shape[-1] == 1 else image
  stream = io.BytesIO()
  Image.fromarray(image).save(stream, kind, **settings)
  return _Eager(stream.getvalue())


def _decode(content: bytes, channels: int = 3) -> _Eager:
  from dlcore.data import images

  return _Eager(images.decode(content, (None, None, channels)))


def _refuse_copy(source, target):
  raise UserError(f"expected an http address, got {source!r} for {target}")


def _sessions(builder, manual_dir: str, download: bool) -> Callable[[], Any]:
  """Returns what stands in for `requests.Session`.

  Raises:
    UserError: (the returned function) downloads are forbidden or impossible.
  """
  registered = builder.url_infos or {}
  size = sum(int(info.size) for info in registered.values())
  names = sorted({info.filename or "" for info in registered.values()} - {""})
  what = f"{builder.name} ({size / 2**20:.1f} MiB)" if size else builder.name
  todo = "set data.manual_dir to a folder that holds " + (
    ", ".join(names) if names else "its files"
  )
  got = f"data.manual_dir={manual_dir!r} does not hold all of it"
  lock, said = threading.Lock(), set()

  def session():
    import requests

    if not download:
      raise UserError(
        f"expected {what} on this machine, as data.download=false", got, todo
      )
    real = requests.Session()
    get = real.get

    def checked_get(url, **settings):
      host = url.split("/")[2]
      with lock:
        if not said:
          if not _answers(url):
            raise UserError(
              f"expected to download {what}", f"got no answer from {host}", todo
            )
          logger.warning(
            "downloading %s from %s into %s", what, host, builder.data_dir
          )
          said.add(host)
      return get(url, **settings)

    real.get = checked_get
    return real

  return session


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


@contextlib.contextmanager
def _own_checksums(builder, manual_dir: str) -> Iterator[None]:
  """Registers, for a while, the checksums of the files in `manual_dir`."""
  import tensorflow_datasets as tfds

  registered = builder.url_infos or {}
  before = dict(registered)
  for url, info in before.items():
    path = pathlib.Path(manual_dir).expanduser() / (info.filename or "")
    if manual_dir and path.is_file():
      registered[url] = tfds.download.checksums.compute_url_info(path)
  try:
    yield
  finally:
    registered.update(before)


@contextlib.contextmanager
def _only_process(data_dir: pathlib.Path) -> Iterator[None]:
  """Waits for other processes that prepare in the same folder."""
  import fcntl

  data_dir.mkdir(parents=True, exist_ok=True)
  with open(data_dir / ".dlcore.lock", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _allow_many_files() -> None:
  """Raises the limit of open files: TFDS sorts large sets in 1,000 of them."""
  if sys.platform == "win32":
    return
  import resource

  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
  if soft != resource.RLIM_INFINITY and soft < wanted:
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

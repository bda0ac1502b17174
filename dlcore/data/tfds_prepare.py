"""Prepares the stock builders of TensorFlow Datasets without TensorFlow."""

import contextlib
import logging
import os
import pathlib
import sys
import threading
from collections.abc import Iterator

from dlcore.data import tfds_stand_ins
from dlcore.errors import UserError, nearest

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
  with tfds_stand_ins.quiet():
    ready = builder.is_prepared()
  if ready:
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
  if not _writable(data_dir):
    raise UserError(
      f"expected to prepare {name!r} in data.data_dir",
      f"got no permission to write in {data_dir}",
      "give a folder of your own",
    )
  with _one_at_a_time, _only_process(data_dir):
    _prepare(builder, manual_dir, download=download, verify=verify)
  return _builder(name, data_dir)


def _builder(name: str, data_dir: pathlib.Path):
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core import registered

  try:
    with tfds_stand_ins.quiet():
      return tfds.builder(
        name, data_dir=os.fspath(data_dir), file_format="array_record"
      )
  except registered.DatasetNotFoundError as error:
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
  from tensorflow_datasets.core.download import (
    download_manager,
    extractor,
    util,
  )

  config = tfds.download.DownloadConfig(
    manual_dir=os.path.expanduser(manual_dir) or None, try_download_gcs=False
  )
  logger.info("preparing %s in %s", builder.name, builder.data_dir)
  tfds.disable_progress_bar()
  try:
    with (
      tfds_stand_ins.stand_ins(
        tfds_stand_ins.sessions(builder, manual_dir, download)
      ),
      contextlib.nullcontext()
      if verify
      else _own_checksums(builder, manual_dir),
      tfds_stand_ins.quiet(),
    ):
      _allow_many_files()
      builder.download_and_prepare(download_config=config)
  except download_manager.NonMatchingChecksumError as error:
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
  except (
    OSError,
    util.DownloadError,
    extractor.ExtractError,
  ) as error:
    raise UserError(
      f"expected to prepare {builder.name} in {builder.data_dir}",
      f"got: {' '.join(str(error).split())}",
      "mend that, or set data.data_dir (where it is prepared) or "
      "data.manual_dir (where its files are)",
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
def _own_checksums(builder, manual_dir: str) -> Iterator[None]:
  """Registers, for a while, the checksums of the files in `manual_dir`."""
  from tensorflow_datasets.core.download import checksums

  registered = builder.url_infos or {}
  before = dict(registered)
  for url, info in before.items():
    path = pathlib.Path(manual_dir).expanduser() / (info.filename or "")
    if manual_dir and path.is_file():
      registered[url] = checksums.compute_url_info(path)
  try:
    yield
  finally:
    registered.update(before)


def _writable(data_dir: pathlib.Path) -> bool:
  """Makes the folder where it is missing; false where that is not allowed."""
  try:
    data_dir.mkdir(parents=True, exist_ok=True)
  except (PermissionError, NotADirectoryError, FileExistsError):
    return False
  return os.access(data_dir, os.W_OK)


@contextlib.contextmanager
def _only_process(data_dir: pathlib.Path) -> Iterator[None]:
  """Waits for other processes that prepare in the same folder."""
  import fcntl

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

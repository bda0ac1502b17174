"""Preparation of the builders of TensorFlow Datasets without TensorFlow."""

import contextlib
import logging
import os
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from dlcore.data.tfds import stand_ins
from dlcore.data.tfds.metadata import check_metadata, damaged
from dlcore.data.tfds.package import import_tfds
from dlcore.errors import UserError, nearest
from dlcore.filesystem import locked

logger = logging.getLogger("dlcore")
_preparation_lock = threading.Lock()


def prepared_builder(
  name: str,
  *,
  data_dir: pathlib.Path,
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
):
  """Returns a builder whose records are in `data_dir`.

  Args:
    name: of the builder in the notation of TFDS: `"mnist"`,
      `"name/config:1.0.0"`.
    data_dir: folder of prepared data sets.
    manual_dir: folder with manually downloaded files, which are identified by
      name and whose checksums are verified.
    download: whether missing files may be downloaded.
    verify: False accepts files in `manual_dir` whose checksums differ.

  Raises:
    UserError: the builder is unknown, a download fails or is not allowed, a
      checksum differs, or the prepared folder is damaged.
  """
  builder = _builder(name, data_dir)
  with stand_ins.quiet():
    ready = builder.is_prepared()
  if ready:
    return builder
  if builder.data_path.exists():
    raise UserError(
      f"expected the finished data set {name!r}",
      f"got a folder without its description: {builder.data_path}",
      "delete that folder to prepare it again",
    )
  if manual_dir and not os.path.isdir(os.path.expanduser(manual_dir)):
    raise UserError("expected manual_dir to be a folder", f"got {manual_dir!r}")
  with _preparation_lock, locked(data_dir, wait=True):
    _prepare(builder, manual_dir, download=download, verify=verify)
  return _builder(name, data_dir)


def _builder(name: str, data_dir: pathlib.Path):
  tfds: Any = import_tfds()
  from tensorflow_datasets.core import registered

  folder = data_dir / name.split("/")[0].split(":")[0]
  if name and os.path.isdir(folder):
    check_metadata(folder)
  try:
    with stand_ins.quiet():
      return tfds.builder(
        name, data_dir=os.fspath(data_dir), file_format="array_record"
      )
  except registered.DatasetNotFoundError as error:
    known = tfds.list_builders(with_community_datasets=False)
    hint = nearest(name, known) if name else ""
    raise UserError(
      "expected builder to be a data set of tensorflow-datasets",
      f"got {name!r}",
      hint if hint.startswith("did") else "see tfds.list_builders()",
    ) from error
  except ImportError as error:
    raise UserError(
      f"expected {name!r} to work without further packages",
      f"got: {str(error).splitlines()[0]}",
      "install the missing package (TensorFlow is not used)",
    ) from error
  except Exception as error:
    # TFDS does not validate its metadata, so damage can raise any exception.
    if not os.path.isdir(folder):
      raise
    cause: BaseException = error
    while cause.__cause__ is not None:
      cause = cause.__cause__
    raise damaged(folder, " ".join(str(cause).split())[:200]) from error


def _prepare(builder, manual_dir: str, *, download: bool, verify: bool) -> None:
  tfds: Any = import_tfds()
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
      stand_ins.stand_ins(stand_ins.sessions(builder, manual_dir, download)),
      contextlib.nullcontext() if verify else _unverified(builder, manual_dir),
      stand_ins.quiet(),
    ):
      _allow_many_files()
      builder.download_and_prepare(download_config=config)
  except download_manager.NonMatchingChecksumError as error:
    raise UserError(
      f"expected the files of {builder.name} with the checksums that "
      "tensorflow-datasets registers",
      "got " + " ".join(str(error).split("\nTo debug")[0].split()),
      "download the file again, or accept it with verify=False",
    ) from error
  except ImportError as error:
    raise UserError(
      f"expected {builder.name} to be prepared without further packages",
      f"got: {str(error).splitlines()[0]}",
      "install the missing package (TensorFlow is not used)",
    ) from error
  except (
    OSError,
    util.DownloadError,
    extractor.ExtractError,
  ) as error:
    raise UserError(
      f"expected to prepare {builder.name} in {builder.data_dir}",
      f"got: {' '.join(str(error).split())}",
      "fix this, or set data_dir (for the prepared records) or manual_dir "
      "(with the original files)",
    ) from error
  except UserError:
    raise
  except Exception as error:
    # Builders do not validate their files, whose damage can raise any. TFDS
    # asserts that files are present which must be downloaded manually.
    is_missing = isinstance(error, AssertionError)
    if is_missing and "manual" in str(error).lower():
      raise UserError(
        f"expected manual_dir to hold the files of {builder.name}",
        f"got {manual_dir!r}",
        " ".join(f"{builder.MANUAL_DOWNLOAD_INSTRUCTIONS} {error}".split()),
      ) from error
    raise UserError(
      f"expected files of {builder.name} in the format that its builder reads",
      f"got {type(error).__name__}: {' '.join(str(error).split())[:200]}",
      "download the files again",
    ) from error


@contextlib.contextmanager
def _unverified(builder, manual_dir: str) -> Iterator[None]:
  """Temporarily registers the checksums of the files in `manual_dir`."""
  from tensorflow_datasets.core.download import checksums

  registered = builder.url_infos or {}
  before = dict(registered)
  for url, info in before.items():
    path = pathlib.Path(os.path.expanduser(manual_dir), info.filename or "")
    if manual_dir and path.is_file():
      registered[url] = checksums.compute_url_info(path)
  try:
    yield
  finally:
    registered.update(before)


def _allow_many_files() -> None:
  """Raises the limit of open files: TFDS sorts large sets in 1,000 files."""
  if sys.platform == "win32":
    return
  import resource

  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  needed = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
  if soft != resource.RLIM_INFINITY and soft < needed:
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

"""The folders of a data set of TensorFlow Datasets on this machine."""

import os
import pathlib
from typing import Any, NamedTuple

from dlcore.data.tfds import preparation
from dlcore.errors import UserError


class Location(NamedTuple):
  """A data set of TFDS, and where its records and its files are."""

  builder: str
  """Name in the notation of TFDS: `"mnist"`, `"name/config:1.0.0"`."""

  data_dir: str = ""
  """Folder of prepared data sets, by default `$TFDS_DATA_DIR` or
  `~/tensorflow_datasets`."""

  manual_dir: str = ""
  """Folder with the original files, used in place of downloads."""

  download: bool = True
  """Whether missing files may be downloaded."""

  verify: bool = True
  """False accepts files in `manual_dir` whose checksums differ."""

  def check(self) -> None:
    """Checks the name and the folder, which may be missing.

    Raises:
      UserError: there is no name, or no such path is possible.
    """
    if not self.builder:
      raise UserError(
        "expected builder to name a data set of tensorflow-datasets",
        "got an empty string",
        'for example builder="mnist"',
      )
    try:
      self.root.stat()
    except FileNotFoundError:
      pass
    except (OSError, ValueError) as error:
      reason = getattr(error, "strerror", None) or error
      raise UserError(
        "expected data_dir to be the path of a folder",
        f"got {os.fspath(self.root)!r:.80}: {reason}",
      ) from error

  @property
  def name(self) -> str:
    """The name of the data set without its version, such as "glue/sst2"."""
    return self.builder.split(":")[0]

  @property
  def root(self) -> pathlib.Path:
    """The folder of the prepared data sets."""
    home = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    # `Path.expanduser` raises an error for users that do not exist.
    return pathlib.Path(os.path.expanduser(self.data_dir or home))

  @property
  def cache_name(self) -> str:
    """The name of its entries in the cache."""
    return self.name.replace("/", "-")

  def key(self) -> dict[str, str]:
    """Returns the entries of a key of the cache, see `cache.splits`."""
    return {"builder": self.builder, "data_dir": os.path.abspath(self.root)}

  def files(self) -> list[pathlib.Path]:
    """Returns the prepared files, not those of other data sets."""
    folder = self.root.joinpath(*self.name.split("/"))
    return [path for path in folder.rglob("*") if path.is_file()]

  def prepare(self) -> Any:
    """Returns the builder of TFDS, prepared; see `prepared_builder`."""
    return preparation.prepared_builder(
      self.builder,
      data_dir=self.root,
      manual_dir=self.manual_dir,
      download=self.download,
      verify=self.verify,
    )

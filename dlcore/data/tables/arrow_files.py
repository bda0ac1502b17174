"""Reading of Parquet and Arrow files by pyarrow, the extra `arrow`."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlcore.data.tables.encoding import check_size
from dlcore.data.tables.raw_columns import CHUNK_CELLS, Chunk
from dlcore.errors import UserError, install_hint
from dlcore.filesystem import read_json

ARROW_SUFFIXES = (".parquet", ".pq", ".arrow", ".feather")

STATE, SPLITS = "state.json", "dataset_dict.json"
"""Files that `datasets.save_to_disk` writes."""

SPLIT_NAMES = {"validation": "valid", "val": "valid", "dev": "valid"}
"""Names of splits in a `DatasetDict` and in dlcore."""


def read_arrow(path: pathlib.Path, rows: int) -> Iterator[Chunk]:
  """Yields the rows of a file, or of the files of a folder, as text.

  Args:
    path: a Parquet, Arrow or Feather file, or a folder of Parquet files or of
      `datasets.save_to_disk`.
    rows: largest number of rows in a chunk.

  Raises:
    UserError: pyarrow is missing, or the file is not of its format.
  """
  pyarrow = _import(path)
  start = 1
  try:
    for file in _files(path):
      for batch in _batches(file, rows):
        table = pyarrow.Table.from_batches([batch])
        while any(map(pyarrow.types.is_struct, table.schema.types)):
          table = table.flatten()
        size = table.num_rows
        columns = {
          name: _cells(table.column(position), size)
          for position, name in enumerate(table.column_names)
        }
        yield Chunk(range(start, start + size), columns)
        start += size
  except (pyarrow.ArrowException, OSError) as error:
    raise UserError(
      f"expected a Parquet or Arrow file at {path}",
      f"got: {str(error).splitlines()[0][:200]}",
    ) from error


def dataset_splits(path: pathlib.Path) -> dict[str, pathlib.Path]:
  """Returns the folder of each split of a `DatasetDict`, `{}` for others."""
  if not os.path.isfile(path / SPLITS):
    return {}
  names = _plain_names(path / SPLITS, _read(path / SPLITS).get("splits"))
  return {SPLIT_NAMES.get(name, name): path / name for name in names}


def _import(path: pathlib.Path) -> Any:
  try:
    import pyarrow
  except ImportError as error:
    raise UserError(
      f"expected pyarrow to be installed, which reads {path.name}",
      f"got: {error}",
      f"install it: {install_hint('arrow')}, or save the table as CSV",
    ) from error
  return pyarrow


def _files(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files of a table."""
  if not os.path.isdir(path):
    return [path]
  if os.path.isfile(path / STATE):
    entries = _read(path / STATE).get("_data_files")
    entries = entries if isinstance(entries, list) else []
    names = [x.get("filename") for x in entries if isinstance(x, Mapping)]
    names = _plain_names(path / STATE, names)
    return [path / name for name in names]
  files = sorted(path.glob("*.parquet"))
  if not files:
    raise UserError(
      f"expected a table file, or Parquet or Arrow files in the folder {path}",
      f"got {', '.join(sorted(p.name for p in path.iterdir())[:10]) or 'none'}",
      "set path to one file, or train, valid and test to a file each",
    )
  return files


def _batches(file: pathlib.Path, rows: int) -> Iterator[Any]:
  """Yields the record batches of a file."""
  from pyarrow import ipc, parquet

  if file.suffix.lower() not in (".arrow", ".feather"):
    reader = parquet.ParquetFile(file)
    width = max(1, len(reader.schema_arrow.names))
    check_size(reader.metadata.num_rows, width)
    yield from reader.iter_batches(batch_size=_size(rows, width))
    return
  with file.open("rb") as stream:
    magic = stream.read(6) == b"ARROW1"
    stream.seek(0)
    opened: Any = (ipc.open_file if magic else ipc.open_stream)(stream)
    every = (
      map(opened.get_batch, range(opened.num_record_batches))
      if magic
      else opened
    )
    for batch in every:
      size = _size(rows, batch.num_columns)
      for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


def _size(rows: int, columns: int) -> int:
  return max(1, min(rows, CHUNK_CELLS // max(1, columns)))


def _cells(column: Any, size: int) -> Sequence[str]:
  """Returns a column as text, lists as "a;b"; other nested values as ""."""
  import pyarrow
  from pyarrow import compute

  kind = column.type
  if pyarrow.types.is_dictionary(kind):
    column, kind = column.cast(kind.value_type), kind.value_type
  if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
    rows = column.to_pylist()
    return [";".join(map(str, row)) if row else "" for row in rows]
  if pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind):
    return ["(bytes)"] * size  # A constant, which is left out.
  try:
    text = column.cast(pyarrow.string()).fill_null("")
  except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
    return ["(nested)"] * size
  return compute.call_function("utf8_trim_whitespace", [text]).to_pylist()


def _plain_names(path: pathlib.Path, names: Any) -> list[str]:
  """Returns names of files in the same folder.

  Raises:
    UserError: there is none, or one is not such a name.
  """
  if not isinstance(names, list) or not names or not all(map(_is_plain, names)):
    raise UserError(
      f"expected the names of files or folders in {path}",
      f"got {names!r}"[:200],
    )
  return names


def _is_plain(name: Any) -> bool:
  plain = isinstance(name, str) and name not in ("", ".", "..")
  return plain and os.path.basename(name) == name


def _read(path: pathlib.Path) -> dict[str, Any]:
  try:
    return read_json(path, max_bytes=1 << 24)
  except (OSError, ValueError) as error:
    raise UserError(f"expected JSON in {path}", f"got: {error}") from error

"""The files to predict, and the order of their examples."""

import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from dlcore.errors import UserError
from dlcore.filesystem.hidden import is_hidden

T = TypeVar("T")

ROW = re.compile(r"(.+)(?::(\d{1,18})|\[(\d{1,18})\])", re.DOTALL)
"""The name of a row: `table.csv:2` or `arrays.npz[0]`."""


class Location(NamedTuple):
  """The position of an example among the inputs."""

  path: str

  row: int | None
  """The line of a table from 1, or the index in arrays from 0; None for an
  example that is a file of its own."""


def list_files(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
  """Returns the files, and those in the folders that are not hidden.

  Raises:
    UserError: a path does not exist, or a folder is empty.
  """
  files = []
  for path in map(Path, paths):
    if not os.path.exists(path):
      raise UserError(
        "expected files or folders to predict", f"got {path}: no such file"
      )
    if not os.path.isdir(path):
      files.append(path)
      continue
    visible = sorted(_visible_files(path))
    if not visible:
      raise UserError(
        f"expected files in the folder {path}", "got an empty folder"
      )
    files += visible
  return files


def _visible_files(folder: Path) -> Iterator[Path]:
  """Yields the files in a folder and in the folders inside of it."""
  for parent, folders, names in os.walk(folder):
    folders[:] = [name for name in folders if not is_hidden(name)]
    for name in names:
      file = Path(parent, name)
      if not is_hidden(name) and file.is_file():
        yield file


def locate(name: str, files: Container[str]) -> Location:
  """Returns the file and the row of an example by its name.

  Args:
    name: as in `data.ReadBatch`.
    files: the paths of all inputs. One of them may end like a row.
  """
  match = None if name in files else ROW.fullmatch(name)
  if match is None:
    return Location(name, None)
  path, line, index = match.groups()
  return Location(path, int(line or index))


class InputOrder:
  """Sorts the examples of a batch, which lists unreadable ones apart."""

  def __init__(self, files: Sequence[Path]):
    """Takes the files in their order, which may repeat one."""
    self._positions: dict[str, list[int]] = {}
    for position, file in enumerate(files):
      self._positions.setdefault(str(file), []).append(position)

  def sort(self, examples: Sequence[tuple[str, T]]) -> list[tuple[str, T]]:
    """Returns pairs `(name, value)` in the order of the inputs."""
    keys = [self._key(name) for name, _ in examples]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return [examples[i] for i in order]

  def _key(self, name: str) -> tuple[int, int]:
    path, row = locate(name, self._positions)
    positions = self._positions.get(path)
    if positions is None:  # The columns of a data frame are not a file.
      return 0, row or 0
    if row is None and len(positions) > 1:
      return positions.pop(0), 0
    return positions[0], row or 0

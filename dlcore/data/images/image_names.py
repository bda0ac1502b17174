"""Image files by the names that tables give them."""

import collections
import pathlib
from collections.abc import Iterable


class ImageNames:
  """Finds image files by path or name, with or without their suffix."""

  def __init__(self, folder: pathlib.Path, files: Iterable[pathlib.Path]):
    """Indexes the image files in a folder and its folders."""
    self._tables: tuple[dict[str, list[pathlib.Path]], ...] = tuple(
      collections.defaultdict(list) for _ in range(4)
    )
    for file in files:
      relative = file.relative_to(folder)
      keys = (relative, relative.with_suffix(""), file.name, file.stem)
      for table, key in zip(self._tables, keys, strict=True):
        table[key if isinstance(key, str) else key.as_posix()].append(file)

  def find(self, cell: str) -> list[pathlib.Path]:
    """Returns the files that a cell may mean: one, none or several.

    The cell is a path in the folder, possibly behind folders that lead to it,
    or, without folders, the name of a file anywhere below.
    """
    parts = [part for part in cell.replace("\\", "/").split("/") if part != "."]
    for start in range(len(parts)):
      name = "/".join(parts[start:])
      for table in self._tables[:2]:
        if files := table.get(name):
          return files
    if len(parts) == 1:
      for table in self._tables[2:]:
        if files := table.get(parts[0]):
          return files
    return []

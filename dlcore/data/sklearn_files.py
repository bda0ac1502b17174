"""Data files in scikit-learn's package.

They are read without importing `sklearn.datasets`, which takes longer than a
first training step.
"""

import gzip
import pathlib
import sys


def lines(name: str) -> list[str]:
  """Returns the lines of a data file of scikit-learn."""
  path = folder() / name
  content = path.read_bytes()
  if path.suffix == ".gz":
    content = gzip.decompress(content)
  return content.decode().splitlines()


def folder() -> pathlib.Path:
  """Returns the folder of scikit-learn's data files.

  A usual installation is in a folder of `sys.path`. Only others, such as an
  editable one, need the import, which takes half a second.
  """
  inside = pathlib.Path("datasets", "data")
  for root in sys.path:
    candidate = pathlib.Path(root, "sklearn", inside)
    if candidate.is_dir():
      return candidate
  import sklearn

  return pathlib.Path(sklearn.__path__[0], inside)

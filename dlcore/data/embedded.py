"""The data sets that come with the installation, in scikit-learn's package.

Their files are read as they are: importing `sklearn.datasets` takes longer than
a first training step.
"""

import gzip
import pathlib
import sys

import numpy as np

from dlcore.data import split
from dlcore.data.source import Splits, hash_rows


def digits(*, valid_fraction: float = 0.1) -> Splits:
  """Loads 1,797 handwritten digits, uint8 images `[8, 8, 1]` in 10 classes.

  The first half (898) is train and the second test, without a shuffle, as in
  scikit-learn's example, whose `SVC(gamma=0.001)` reaches 96.89%: the halves
  were written by different people. The values 0 to 16 become 0 to 255.
  """
  rows = np.loadtxt(_lines("digits.csv.gz"), delimiter=",", dtype=np.int32)
  images = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8)
  arrays = {"image": images.reshape(-1, 8, 8, 1), "label": rows[:, 64]}
  half = len(rows) // 2
  return split.make(
    {
      "train": {name: array[:half] for name, array in arrays.items()},
      "test": {name: array[half:] for name, array in arrays.items()},
    },
    {
      "name": "digits",
      "input": "image",
      "target": "label",
      "classes": [str(digit) for digit in range(10)],
    },
    hashes=hash_rows(arrays["image"][:half]),
    valid_fraction=valid_fraction,
  )


def breast_cancer(
  *, valid_fraction: float = 0.1, test_fraction: float = 0.2
) -> Splits:
  """Loads 569 tumours, 30 measurements each: malignant or benign."""
  header, *lines = _lines("breast_cancer.csv")
  rows = np.loadtxt(lines, delimiter=",", dtype=np.float64)
  measured = [
    "radius", "texture", "perimeter", "area", "smoothness", "compactness",
    "concavity", "concave points", "symmetry", "fractal dimension",
  ]  # fmt: skip
  arrays = {
    "features": rows[:, :-1].astype(np.float32),
    "label": rows[:, -1].astype(np.int32),
  }
  return split.make(
    {"train": arrays},
    {
      "name": "breast_cancer",
      "input": "features",
      "target": "label",
      "classes": header.strip().split(",")[2:],
      "columns": [
        *(f"mean {name}" for name in measured),
        *(f"{name} error" for name in measured),
        *(f"worst {name}" for name in measured),
      ],
    },
    hashes=hash_rows(rows),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )


def diabetes(
  *, valid_fraction: float = 0.1, test_fraction: float = 0.2
) -> Splits:
  """Loads 442 patients, 10 measurements each, and their disease a year later.

  The measurements are the raw ones: those that scikit-learn returns by default
  were scaled with the statistics of all patients, also of the test split.
  """
  rows = np.loadtxt(_lines("diabetes_data_raw.csv.gz"))
  targets = np.loadtxt(_lines("diabetes_target.csv.gz"))
  arrays = {
    "features": rows.astype(np.float32),
    "target": targets.astype(np.float32),
  }
  return split.make(
    {"train": arrays},
    {
      "name": "diabetes",
      "input": "features",
      "target": "target",
      "columns": ["age", "sex", "bmi", "bp", *(f"s{i}" for i in range(1, 7))],
    },
    hashes=hash_rows(rows),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )


def _lines(name: str) -> list[str]:
  """Returns the lines of a data file of scikit-learn."""
  path = _folder() / name
  content = path.read_bytes()
  if path.suffix == ".gz":
    content = gzip.decompress(content)
  return content.decode().splitlines()


def _folder() -> pathlib.Path:
  """Returns the folder of scikit-learn's data sets.

  Installed as usual, it lies in a folder of `sys.path`. The import is for other
  installations, such as an editable one: it takes half a second.
  """
  inside = pathlib.Path("datasets", "data")
  for place in sys.path:
    folder = pathlib.Path(place, "sklearn", inside)
    if folder.is_dir():
      return folder
  import sklearn

  return pathlib.Path(sklearn.__path__[0], inside)

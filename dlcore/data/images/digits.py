"""The handwritten digits in scikit-learn's package."""

import numpy as np

from dlcore.data import sklearn_files, split
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.source import Splits, hash_rows


def digits(
  *, valid_fraction: float = 0.1, folds: int = 0, fold: int = 0
) -> Splits:
  """Loads 1,797 handwritten digits, uint8 images `[8, 8, 1]` in 10 classes.

  The first half (898) is train and the second test, without a shuffle, as in
  scikit-learn's example, whose `SVC(gamma=0.001)` reaches 96.89%: the halves
  were written by different people. The values 0 to 16 become 0 to 255. For the
  folds of train see `make_splits`.
  """
  lines = sklearn_files.lines("digits.csv.gz")
  rows = np.loadtxt(lines, delimiter=",", dtype=np.int32)
  images = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8)
  arrays = {"image": images.reshape(-1, 8, 8, 1), "label": rows[:, 64]}
  half = len(rows) // 2
  return split.make_splits(
    {
      "train": {name: array[:half] for name, array in arrays.items()},
      "test": {name: array[half:] for name, array in arrays.items()},
    },
    ImageSchema(classes=tuple(map(str, range(10)))),
    name="digits",
    hashes=hash_rows(arrays["image"][:half]),
    valid_fraction=valid_fraction,
    folds=folds,
    fold=fold,
  )

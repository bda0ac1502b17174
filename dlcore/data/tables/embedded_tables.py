"""The tables in scikit-learn's package."""

import numpy as np

from dlcore.data import sklearn_files, split
from dlcore.data.source import Splits, hash_rows
from dlcore.data.tables.table_schema import TableSchema


def breast_cancer(
  *,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  folds: int = 0,
  fold: int = 0,
) -> Splits:
  """Loads 569 tumors, 30 measurements each: malignant or benign."""
  header, *lines = sklearn_files.lines("breast_cancer.csv")
  rows = np.loadtxt(lines, delimiter=",", dtype=np.float64)
  measured = [
    "radius", "texture", "perimeter", "area", "smoothness", "compactness",
    "concavity", "concave points", "symmetry", "fractal dimension",
  ]  # fmt: skip
  arrays = {
    "features": rows[:, :-1].astype(np.float32),
    "label": rows[:, -1].astype(np.int32),
  }
  schema = TableSchema(
    target="label",
    classes=tuple(header.strip().split(",")[2:]),
    columns=(
      *(f"mean {name}" for name in measured),
      *(f"{name} error" for name in measured),
      *(f"worst {name}" for name in measured),
    ),
  )
  return split.make_splits(
    {"train": arrays},
    schema,
    name="breast_cancer",
    hashes=hash_rows(rows),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
    folds=folds,
    fold=fold,
  )


def diabetes(
  *,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  folds: int = 0,
  fold: int = 0,
) -> Splits:
  """Loads 442 patients: 10 measurements and the disease one year later.

  The measurements are unscaled. Those that scikit-learn returns by default are
  scaled with the statistics of all patients, the test split included.
  """
  rows = np.loadtxt(sklearn_files.lines("diabetes_data_raw.csv.gz"))
  targets = np.loadtxt(sklearn_files.lines("diabetes_target.csv.gz"))
  arrays = {
    "features": rows.astype(np.float32),
    "target": targets.astype(np.float32),
  }
  schema = TableSchema(
    target="target",
    columns=("age", "sex", "bmi", "bp", *(f"s{i}" for i in range(1, 7))),
  )
  return split.make_splits(
    {"train": arrays},
    schema,
    name="diabetes",
    hashes=hash_rows(rows),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
    folds=folds,
    fold=fold,
  )

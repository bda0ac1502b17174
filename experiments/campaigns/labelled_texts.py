"""CSV files of texts with classes, their linear model, and runs on them."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline, make_union

COSTS = np.logspace(-1, 3, 5)
"""Values of C to choose from by cross-validation."""

FOLDS = 5

SETTINGS = {
  "data.text": "text",
  "data.target": "label",
  "data.valid_fraction": 0.0,
  "training.best_by": "-loss",
}
"""Of runs on such files: all labelled texts train, the last step counts."""


def write(file: Path, rows: Iterable[tuple[str, str]]) -> None:
  """Writes texts and their classes."""
  file.parent.mkdir(parents=True, exist_ok=True)
  with file.open("w", newline="") as handle:
    writer = csv.writer(handle)
    writer.writerow(["text", "label"])
    writer.writerows(rows)


def read(file: Path) -> tuple[np.ndarray, np.ndarray]:
  """Returns texts and classes, strings `[N]`."""
  with file.open(newline="") as handle:
    rows = list(csv.DictReader(handle))
  texts = np.array([row["text"] for row in rows], object)
  return texts, np.array([row["label"] for row in rows])


class Scored(NamedTuple):
  """Predictions for N texts."""

  labels: np.ndarray
  """Classes in alphabetical order, int `[N]`."""

  predictions: np.ndarray
  """Likewise."""

  scores: np.ndarray
  """Probability of the second of two classes, float `[N]`; of more classes,
  that of the predicted one."""

  @property
  def correct(self) -> np.ndarray:
    """Which texts are classified correctly, bool `[N]`."""
    return self.predictions == self.labels


def fit_linear(train: Path, held: Path) -> Scored:
  """Fits logistic regression to TF-IDF of words 1-2 and characters 2-5.

  Returns:
    Its predictions for the texts of `held`.
  """
  (texts, labels), (held_texts, held_labels) = map(read, (train, held))
  words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
  characters = TfidfVectorizer(
    analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True
  )
  least = np.unique(labels, return_counts=True)[1].min()
  model = make_pipeline(
    make_union(words, characters),
    LogisticRegressionCV(
      Cs=COSTS,
      cv=min(FOLDS, int(least)),
      max_iter=1000,
      scoring="neg_log_loss",
    ),
  ).fit(texts, labels)
  probabilities = model.predict_proba(held_texts)
  predictions = probabilities.argmax(1)
  return Scored(
    np.searchsorted(model.classes_, held_labels),
    predictions,
    probabilities[:, 1] if len(model.classes_) == 2 else probabilities.max(1),
  )


def read_run(run: Path, held: Path) -> Scored:
  """Returns the predictions of a run, whose test split is the file `held`."""
  names, labels = np.unique(read(held)[1], return_inverse=True)
  with np.load(run / "assets" / "predictions.npz") as arrays:
    np.testing.assert_array_equal(arrays["label"], labels)
    predictions, scores = arrays["prediction"], arrays["probability"]
  if len(names) == 2:
    scores = np.where(predictions == 1, scores, 1 - scores)
  return Scored(labels, predictions, scores)

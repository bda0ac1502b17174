"""CSV files of texts with classes, their linear model, and runs on them."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
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


def fit_linear(train: Path, held: Path) -> tuple[np.ndarray, float | None]:
  """Fits logistic regression to TF-IDF of words 1-2 and characters 2-5.

  Returns:
    Which texts of `held` it classifies correctly, bool `[N]`, and the AUC if
    there are two classes.
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
  auc = None
  if len(model.classes_) == 2:
    scores = model.predict_proba(held_texts)[:, 1]
    auc = float(roc_auc_score(held_labels == model.classes_[1], scores))
  return model.predict(held_texts) == held_labels, auc


def correct(run: Path, held: Path) -> np.ndarray:
  """Returns which texts of a file a run classifies correctly, bool `[N]`."""
  _, labels = np.unique(read(held)[1], return_inverse=True)
  with np.load(run / "assets" / "predictions.npz") as arrays:
    np.testing.assert_array_equal(arrays["label"], labels)
    return arrays["prediction"] == labels

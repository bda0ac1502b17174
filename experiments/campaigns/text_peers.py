"""Fits linear models of scikit-learn to the embedded texts.

  text_peers.py [--only=reviews]

Each model has the examples of train and valid, and is measured on those of
test, all as `data.load` returns them:

- language_id: TF-IDF of 1 to 5 characters within words, and a linear SVM whose
  C is chosen by cross-validation.
- reviews: TF-IDF of 1 to 2 words and of 2 to 5 characters, and logistic
  regression with C = 10.

--output has their scores. --folder has NAME.npz for each set, with the label
and the prediction of every test example, which `text_scores.py` compares.
"""

import json
import time
from pathlib import Path

import numpy as np
import sklearn
from absl import flags
from frozen_rows import join
from sklearn import metrics
from sklearn.base import ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from dlcore import command, data
from dlcore.data.text.frozen import load_table
from dlcore.errors import lookup
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
COSTS = (0.125, 0.25, 0.5, 1.0, 2.0)
"""Values of C among which cross-validation chooses."""

ONLY = flags.DEFINE_list("only", [], "some of the sets")
FOLDER = flags.DEFINE_string(
  "folder", "runs/text_peers", "folder of the predictions"
)
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/text_peers.json", "the file of the results"
)


def main():
  """Fits the models of all sets and writes --output."""
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  for name in ONLY.value or PEERS:
    make = lookup(PEERS, name, "set of texts")
    train, valid, test = data.load(name)
    texts = np.array(load_table(name)["text"], object)
    rows, labels = join(train, valid)
    start = time.monotonic()
    model = make().fit(texts[rows], labels)
    rows, labels = join(test)
    results[name] = {
      "train": train.size + valid.size,
      "test": test.size,
      **chosen(model),
      **measure(name, model, texts[rows], labels),
      "seconds": time.monotonic() - start,
      "scikit-learn": sklearn.__version__,
      **provenance(ROOT),
    }
    print(name, results[name], flush=True)
    output.write_text(json.dumps(results, indent=1) + "\n")


def linear_svm() -> GridSearchCV:
  """Returns a linear SVM on characters; cross-validation chooses its C."""
  vectorizer = TfidfVectorizer(
    analyzer="char_wb", ngram_range=(1, 5), sublinear_tf=True
  )
  return GridSearchCV(
    make_pipeline(vectorizer, LinearSVC()), {"linearsvc__C": COSTS}, cv=5
  )


def logistic_regression() -> ClassifierMixin:
  """Returns logistic regression on words and characters."""
  words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
  characters = TfidfVectorizer(
    analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True
  )
  return make_pipeline(
    make_union(words, characters), LogisticRegression(C=10, max_iter=1000)
  )


PEERS = {"language_id": linear_svm, "reviews": logistic_regression}
"""Function that creates the model, by set."""


def chosen(model: ClassifierMixin) -> dict[str, float]:
  """Returns the setting that cross-validation chose, if it did."""
  parameters = getattr(model, "best_params_", {})
  return {name.rpartition("__")[2]: c for name, c in parameters.items()}


def measure(
  name: str, model: ClassifierMixin, texts: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
  """Returns the scores on the test examples, and writes the predictions."""
  predictions = model.predict(texts)
  folder = Path(FOLDER.value)
  folder.mkdir(parents=True, exist_ok=True)
  np.savez(folder / f"{name}.npz", label=labels, prediction=predictions)
  scores = {
    "accuracy": metrics.accuracy_score(labels, predictions),
    "macro_f1": metrics.f1_score(labels, predictions, average="macro"),
  }
  if len(np.unique(labels)) == 2:
    values = model.predict_proba(texts)[:, 1]
    scores["auc"] = metrics.roc_auc_score(labels, values)
  return scores


if __name__ == "__main__":
  command.run(main)

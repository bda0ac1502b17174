"""Predicts the stress of vowels without a network, beside configs/stress.py.

  stress_peers.py

Each model has the pronunciations of train and valid of `cmudict_stress`, and is
measured on those of test, by the metrics of the task:

- first_vowel: the first vowel has the primary stress, and the others none.
- by_vowel: the most frequent stress of each vowel.
- logistic_regression: of scikit-learn, on the phonemes at -4 to 4 from the
  vowel, the number of vowels, and how many are before and after it.

--output has their scores. --folder has NAME.npz for each model, with the label
and the prediction of every vowel of test, in the order of the arrays of the
same name in assets/predictions.npz of a run.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sklearn
from absl import flags
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from dlcore import command, data, metrics
from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
SET = "cmudict_stress"
REACH = 4
"""Phonemes on either side of a vowel."""

PRIMARY, NONE = "1", "0"
METRICS = ("accuracy", "sequence_accuracy", "f1_macro")

FOLDER = flags.DEFINE_string(
  "folder", "runs/stress_peers", "folder of the predictions"
)
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/stress_peers.json", "the file of the results"
)


class Vowels(NamedTuple):
  """The M vowels of some pronunciations."""

  window: np.ndarray
  """int `[M, 2 * REACH + 1]`: ids of the phonemes around each, 0 for none."""

  before: np.ndarray
  """int `[M]`: vowels before it in its word."""

  after: np.ndarray

  stress: np.ndarray
  """int `[M]`: positions in the classes of the set."""

  @property
  def features(self) -> np.ndarray:
    """Categories of the logistic regression, int `[M, 2 * REACH + 4]`."""
    count = self.before + 1 + self.after
    columns = (self.window, self.before, self.after, count)
    return np.column_stack(columns)


def main():
  """Fits all models and writes --output."""
  splits = data.load(SET)
  classes = splits.train.info.schema.classes
  known = (splits.train.arrays, splits.valid.arrays)
  train = vowels(
    *(
      np.concatenate([part[name] for part in known])
      for name in (TOKENS, LABELS)
    )
  )
  labels = splits.test.arrays[LABELS]
  test = vowels(splits.test.arrays[TOKENS], labels)
  results = {"train": len(train.stress), "test": len(test.stress)}
  for name, predict in MODELS.items():
    start = time.monotonic()
    predicted = predict(train, test, classes)
    results[name] = measure(name, predicted, labels, len(classes))
    results[name]["seconds"] = time.monotonic() - start
    print(name, results[name], flush=True)
  results |= {"scikit-learn": sklearn.__version__, **provenance(ROOT)}
  Path(OUTPUT.value).write_text(json.dumps(results, indent=1) + "\n")


def vowels(ids: np.ndarray, labels: np.ndarray) -> Vowels:
  """Returns the vowels of pronunciations.

  Args:
    ids: of the phonemes, int `[N, T]`, 0 for padding.
    labels: int `[N, T]`, -100 for all but vowels.
  """
  is_vowel = labels != IGNORED
  rows, columns = np.nonzero(is_vowel)
  padded = np.pad(ids, ((0, 0), (REACH, REACH)))
  offsets = np.arange(2 * REACH + 1)
  position = is_vowel.cumsum(1)[rows, columns]
  return Vowels(
    padded[rows[:, None], columns[:, None] + offsets],
    position - 1,
    is_vowel.sum(1)[rows] - position,
    labels[is_vowel],
  )


def first_vowel(train: Vowels, test: Vowels, classes: tuple) -> np.ndarray:
  """Returns the primary stress for the first vowel, and none for others."""
  del train
  first = test.before == 0
  return np.where(first, classes.index(PRIMARY), classes.index(NONE))


def by_vowel(train: Vowels, test: Vowels, classes: tuple) -> np.ndarray:
  """Returns the most frequent stress of each vowel in train."""
  phonemes = train.window[:, REACH]
  counts = np.zeros((1 + phonemes.max(), len(classes)), np.int64)
  np.add.at(counts, (phonemes, train.stress), 1)
  return counts.argmax(1)[test.window[:, REACH]]


def logistic_regression(
  train: Vowels, test: Vowels, classes: tuple
) -> np.ndarray:
  """Returns the predictions of logistic regression with C = 1."""
  del classes
  model = make_pipeline(
    OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=1000)
  )
  return model.fit(train.features, train.stress).predict(test.features)


MODELS: dict[str, Callable[[Vowels, Vowels, tuple], np.ndarray]] = {
  "first_vowel": first_vowel,
  "by_vowel": by_vowel,
  "logistic_regression": logistic_regression,
}
"""`(train, test, classes) -> stress of each vowel of test`, by name."""


def measure(
  name: str, predicted: np.ndarray, labels: np.ndarray, num_classes: int
) -> dict[str, float]:
  """Returns the scores on the test vowels, and writes the predictions."""
  is_vowel = labels != IGNORED
  folder = Path(FOLDER.value)
  folder.mkdir(parents=True, exist_ok=True)
  np.savez(folder / f"{name}.npz", label=labels[is_vowel], prediction=predicted)
  tags = np.full_like(labels, IGNORED)
  tags[is_vowel] = predicted
  selection = metrics.select(METRICS, metrics.TAGS)
  predictions = {"predicted": tags, "num_classes": num_classes}
  return selection.values(predictions, labels, np.ones(len(labels)))


if __name__ == "__main__":
  command.run(main)

"""Models of the stress of vowels without a network; see stress_peers.py."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from dlcore.data.info import IGNORED

REACH = 4
"""Phonemes on either side of a vowel."""

PRIMARY, NONE = "1", "0"


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

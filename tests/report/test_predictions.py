"""What is told about predictions agrees with the predictions."""

import numpy as np
import pytest
from sklearn import metrics

from dlcore.report import classification, predictions

RANDOM = np.random.default_rng(0)
N, C = 300, 5
LABELS = RANDOM.integers(0, C, N)
PROBABILITIES = RANDOM.dirichlet(np.ones(C), N)
GUESSES = PROBABILITIES.argmax(-1)


def echo(indices):
  return np.stack([indices, -indices], -1)


def test_mistakes_come_with_the_most_confident_first():
  found = predictions.classification("test", LABELS, PROBABILITIES, echo)
  worst, confidence = found["worst_index"], found["worst_probability"]
  assert len(worst) == predictions.WORST
  assert np.all(found["worst_label"] != found["worst_prediction"])
  assert np.all(np.diff(confidence) <= 0)
  others = np.setdiff1d(np.flatnonzero(LABELS != GUESSES), worst)
  assert confidence.min() >= PROBABILITIES[others].max(-1).max() - 1e-6
  assert np.array_equal(found["worst_input"][:, 0], worst)
  assert np.array_equal(found["worst_label"], LABELS[worst])


def test_the_largest_errors_come_first():
  target, guess = RANDOM.normal(size=(2, N))
  found = predictions.regression("test", target, guess, echo)
  errors = np.sort(np.abs(target - guess))[::-1]
  told = np.abs(found["worst_target"] - found["worst_prediction"])
  assert np.allclose(told, errors[: predictions.WORST], atol=1e-6)


def test_without_a_mistake_nothing_is_read():
  found = predictions.classification("test", GUESSES, PROBABILITIES, None)
  assert sorted(found) == ["label", "prediction", "probability", "split"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_images_of_any_type_are_stretched_over_all_grey_levels(dtype):
  values = (RANDOM.normal(size=(3, 4, 5, 2)) * 100).astype(dtype)
  shown = predictions.displayable(values)
  assert shown.dtype == np.uint8
  assert shown.shape == values.shape
  assert (shown.min(), shown.max()) == (0, 255)
  order = np.argsort(values, axis=None)
  assert np.all(np.diff(shown.ravel()[order].astype(int)) >= 0)


def test_uint8_images_and_tables_stay_as_they_are():
  image = RANDOM.integers(0, 9, (2, 3, 3, 1), np.uint8)
  table = RANDOM.normal(size=(2, 7)).astype(np.float32)
  assert np.array_equal(predictions.displayable(image), image)
  assert np.array_equal(predictions.displayable(table), table)


def test_confusion_sums_to_all_examples_and_equals_scikit_learn():
  counts = classification.confusion_counts(LABELS, GUESSES, C)
  assert counts.sum() == N
  assert np.array_equal(counts, metrics.confusion_matrix(LABELS, GUESSES))
  assert np.trace(counts) == (LABELS == GUESSES).sum()


def test_class_scores_equal_scikit_learn():
  found = classification.class_scores(LABELS, GUESSES, C + 1)
  expected = metrics.precision_recall_fscore_support(LABELS, GUESSES)
  names = ("precision", "recall", "f1", "examples")
  for name, values in zip(names, expected, strict=True):
    assert np.allclose(found[name][:C], values)
  assert found["examples"][C] == 0
  assert np.isnan(found["recall"][C])


def test_a_calibrated_classifier_has_no_calibration_error():
  confidence = np.repeat([0.25, 0.75], 400)
  right = np.concatenate([np.arange(400) < 100, np.arange(400) < 300])
  assert classification.calibration(confidence, right)[2] < 1e-9
  assert np.isclose(classification.calibration(confidence, ~right)[2], 0.5)

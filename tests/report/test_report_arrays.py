"""Kept predictions and the scores of the report agree with scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from dlcore import report_arrays
from dlcore.report import classes

RANDOM = np.random.default_rng(0)
N, C = 300, 5
LABELS = RANDOM.integers(0, C, N)
PROBABILITIES = RANDOM.dirichlet(np.ones(C), N)
PREDICTIONS = PROBABILITIES.argmax(-1)


def echo(indices):
  return np.stack([indices, -indices], -1)


def test_the_most_confident_mistakes_come_first():
  kept = report_arrays.classification("test", LABELS, PROBABILITIES, echo)
  worst, confidence = kept["worst_index"], kept["worst_probability"]
  assert len(worst) == report_arrays.MAX_WORST
  assert np.all(kept["worst_label"] != kept["worst_prediction"])
  assert np.all(np.diff(confidence) <= 0)
  others = np.setdiff1d(np.flatnonzero(LABELS != PREDICTIONS), worst)
  assert confidence.min() >= PROBABILITIES[others].max(-1).max() - 1e-6
  assert np.array_equal(kept["worst_input"][:, 0], worst)
  assert np.array_equal(kept["worst_label"], LABELS[worst])


def test_the_largest_errors_come_first():
  target, prediction = RANDOM.normal(size=(2, N))
  kept = report_arrays.regression("test", target, prediction, echo)
  errors = np.sort(np.abs(target - prediction))[::-1]
  worst = np.abs(kept["worst_target"] - kept["worst_prediction"])
  assert np.allclose(worst, errors[: report_arrays.MAX_WORST], atol=1e-6)


def test_without_a_mistake_no_input_is_read():
  kept = report_arrays.classification("test", PREDICTIONS, PROBABILITIES, None)
  assert sorted(kept) == ["label", "prediction", "probability", "split"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_images_of_any_dtype_are_scaled_to_all_gray_levels(dtype):
  values = (RANDOM.normal(size=(3, 4, 5, 2)) * 100).astype(dtype)
  scaled = report_arrays.displayable(values)
  assert scaled.dtype == np.uint8
  assert scaled.shape == values.shape
  assert (scaled.min(), scaled.max()) == (0, 255)
  order = np.argsort(values, axis=None)
  assert np.all(np.diff(scaled.ravel()[order].astype(int)) >= 0)


def test_uint8_images_tables_and_texts_are_unchanged():
  image = RANDOM.integers(0, 9, (2, 3, 3, 1), np.uint8)
  table = RANDOM.normal(size=(2, 7)).astype(np.float32)
  assert np.array_equal(report_arrays.displayable(image), image)
  assert np.array_equal(report_arrays.displayable(table), table)
  texts = np.array(["a", "bc"])
  assert np.array_equal(report_arrays.displayable(texts), texts)


def test_confusion_sums_to_all_examples_and_equals_scikit_learn():
  counts = classes.confusion_counts(LABELS, PREDICTIONS, C)
  assert counts.sum() == N
  assert np.array_equal(counts, metrics.confusion_matrix(LABELS, PREDICTIONS))
  assert np.trace(counts) == (LABELS == PREDICTIONS).sum()


def test_class_scores_equal_scikit_learn():
  kept = classes.class_scores(LABELS, PREDICTIONS, C + 1)
  expected = metrics.precision_recall_fscore_support(LABELS, PREDICTIONS)
  names = ("precision", "recall", "f1", "examples")
  for name, values in zip(names, expected, strict=True):
    assert np.allclose(kept[name][:C], values)
  assert kept["examples"][C] == 0
  assert np.isnan(kept["recall"][C])


def test_a_calibrated_classifier_has_no_calibration_error():
  confidence = np.repeat([0.25, 0.75], 400)
  right = np.concatenate([np.arange(400) < 100, np.arange(400) < 300])
  assert classes.calibration(confidence, right)[2] < 1e-9
  assert np.isclose(classes.calibration(confidence, ~right)[2], 0.5)

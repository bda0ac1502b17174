"""The threshold that maximizes a criterion on validation."""

import numpy as np
import pytest
from sklearn import metrics as sk

from dlcore.errors import UserError
from dlcore.metrics import best_threshold
from dlcore.metrics.threshold import CRITERIA

REFERENCES = {
  "accuracy": sk.accuracy_score,
  "balanced_accuracy": sk.balanced_accuracy_score,
  "f1": sk.f1_score,
}


@pytest.mark.parametrize("criterion", CRITERIA)
def test_no_other_threshold_is_better(criterion):
  random = np.random.default_rng(1)
  positive = random.random(200) < 0.1
  scores = (random.normal(size=200) + 1.5 * positive).round(1)
  p = 1 / (1 + np.exp(-scores))
  weights = random.integers(0, 3, 200)

  def value(threshold):
    return REFERENCES[criterion](
      positive, p >= threshold, sample_weight=weights
    )

  best = best_threshold(p, positive, weights, criterion=criterion)
  assert value(best) == pytest.approx(max(value(cut) for cut in p))


def test_of_equal_thresholds_the_nearest_to_one_half_is_taken():
  p, positive = np.array([0.1, 0.2, 0.9]), np.array([False, False, True])
  assert best_threshold(p, positive) == pytest.approx(0.55)


@pytest.mark.parametrize(
  ("p", "positive"), [([0.1, 0.2], [1, 1]), ([0.1, np.nan], [0, 1])]
)
def test_a_threshold_that_is_undefined_is_one_half(p, positive):
  assert best_threshold(np.array(p), np.array(positive)) == 0.5


def test_an_unknown_criterion_is_refused():
  with pytest.raises(UserError, match="f1"):
    best_threshold(np.array([0.1]), np.array([1]), criterion="f2")

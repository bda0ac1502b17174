"""Neighbors, pairs and maps equal those of whole matrices; probes are fair."""

import numpy as np
import pytest

from dlcore import representation
from dlcore.metrics import wilson_interval
from dlcore.representation import (
  fit_logistic,
  linear_probe,
  nearest_neighbors,
  probes,
  similar_pairs,
)


@pytest.fixture
def small_blocks(monkeypatch):
  for module in ("nearest_neighbors", "similar_pairs"):
    path = f"dlcore.representation.{module}"
    monkeypatch.setattr(__import__(path, fromlist=["ROWS"]), "ROWS", 7)
  path = "dlcore.representation.nearest_neighbors"
  monkeypatch.setattr(__import__(path, fromlist=["ROWS"]), "COLUMNS", 11)


def features(rows=60, width=5, seed=0):
  values = np.random.default_rng(seed).normal(size=(rows, width))
  return values.astype(np.float32)


def clusters(classes=3, each=20, distance=4.0):
  labels = np.repeat(np.arange(classes), each)
  centers = features(classes, 5, seed=1)
  return features(classes * each) + distance * centers[labels], labels


def test_neighbors_by_blocks_are_those_of_all_similarities(small_blocks):
  unit = representation.unit_rows(features())
  near = nearest_neighbors(unit[:20], unit, 4)
  every = unit[:20] @ unit.T
  expected = np.argsort(-every, axis=1, kind="stable")[:, :4]
  np.testing.assert_array_equal(near.index, expected)
  np.testing.assert_allclose(
    near.similarity, np.take_along_axis(every, expected, 1), atol=1e-6
  )


def test_more_neighbors_than_rows_are_all_rows(small_blocks):
  unit = representation.unit_rows(features(3))
  assert nearest_neighbors(unit[:1], unit, 9).index.shape == (1, 3)
  assert nearest_neighbors(unit[:0], unit, 2).index.shape == (0, 2)


@pytest.mark.parametrize("limit", [5, 10_000])
def test_pairs_by_blocks_are_those_of_all_similarities(small_blocks, limit):
  unit = representation.unit_rows(features())
  pairs = similar_pairs(unit, 0.8, limit)
  first, second = np.triu_indices(len(unit), 1)
  values = (unit @ unit.T)[first, second]
  above = np.flatnonzero(values >= 0.8)
  order = above[np.argsort(-values[above], kind="stable")][:limit]
  assert pairs.total == len(above) > 5
  np.testing.assert_array_equal(pairs.first, first[order])
  np.testing.assert_array_equal(pairs.second, second[order])
  np.testing.assert_allclose(pairs.similarity, values[order], atol=1e-6)


def test_equal_rows_are_all_counted_and_few_are_kept(small_blocks):
  pairs = similar_pairs(representation.unit_rows(np.ones((50, 3))), 0.99, 8)
  assert pairs.total == 50 * 49 // 2
  assert len(pairs.first) == 8
  assert pairs.similarity.max() <= 1


def test_rows_of_any_size_have_unit_norm():
  values = features(3) * np.array([[1e-30], [1.0], [3e37]], np.float32)
  norms = np.linalg.norm(representation.unit_rows(values), axis=1)
  np.testing.assert_allclose(norms, 1, rtol=1e-6)
  assert not representation.unit_rows(np.zeros((2, 3))).any()


def test_the_map_keeps_the_variance_of_two_dimensions():
  plane = features(50, 2) @ features(2, 6, seed=2)
  points, shares = representation.project(plane + 3)
  assert sum(shares) == pytest.approx(1, abs=1e-5)
  assert shares[0] > shares[1]
  distance = np.linalg.norm(points[0] - points[1])
  assert distance == pytest.approx(np.linalg.norm(plane[0] - plane[1]), 1e-4)


@pytest.mark.parametrize(
  "values", [np.ones((1, 4)), np.ones((5, 1)), np.full((4, 3), 3e38)]
)
def test_the_map_of_constant_features_is_finite(values):
  points, shares = representation.project(values)
  assert points.shape == (len(values), 2)
  assert np.isfinite(points).all()
  assert shares == (0, 0)


@pytest.mark.slow
def test_logistic_regression_equals_scikit_learn():
  from sklearn.linear_model import LogisticRegression
  from sklearn.preprocessing import StandardScaler

  values, labels = clusters(distance=1.0)
  values[:, 2] = 7  # Constant.
  fitted = fit_logistic(values, labels, 3, 0.1)
  scaled = StandardScaler().fit_transform(values)
  other = LogisticRegression(C=1 / (0.1 * len(values)), tol=1e-8)
  expected = other.fit(scaled, labels).predict_log_proba(scaled)
  logits = fitted.logits(values)
  ours = logits - np.log(np.exp(logits).sum(1, keepdims=True))
  # L-BFGS stops at a gradient of 1e-5.
  np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_a_strong_penalty_is_chosen_for_noise():
  values, labels = features(60, 40), np.arange(60) % 2
  folds = np.arange(60) // 2 % 3
  _, strength = linear_probe.fit_probe(values, labels, 2, folds)
  assert strength >= 1
  values, labels = clusters()
  _, weak = linear_probe.fit_probe(values, labels, 3, np.arange(60) % 3)
  assert weak < 1


def test_probes_of_separate_classes_are_right():
  values, labels = clusters(distance=9.0)
  result = representation.probe(values, labels, ("a", "b", "c"))
  assert [p.accuracy for p in result.probes] == [1, 1]
  assert result.probes[0].interval == wilson_interval(60, 60)
  assert result.trivial == pytest.approx(1 / 3)
  assert result.folds == 5
  assert not result.remarks


def test_probes_of_noise_are_no_better_than_chance():
  values, labels = features(200, 5), np.arange(200) % 2
  for probe in representation.probe(values, labels, ("a", "b")).probes:
    assert probe.interval[0] < 0.5 < probe.interval[1]


def test_copies_do_not_count_as_right_answers():
  """Each row has a copy of its label, which other folds must not contain."""
  values, labels = np.repeat(features(60), 2, 0), np.arange(120) // 2 % 2
  result = representation.probe(values, labels, ("a", "b"))
  assert result.probes[1].accuracy < 0.7


def test_classes_of_one_example_and_no_label_are_left_out():
  values, labels = clusters()
  labels[0], labels[1] = 3, -1
  result = representation.probe(values, labels, ("a", "b", "c", "rare"))
  assert len(result.rows) == 58
  assert "rare" in result.remarks[0]
  assert set(result.probes[0].predictions.tolist()) <= {0, 1, 2}


@pytest.mark.parametrize(
  "labels", [[0] * 6, [-1] * 6, [0, 1, 1, 1, 1, 1], [*range(6)]]
)
def test_fewer_than_two_classes_have_no_probe(labels):
  values, names = features(6), tuple("abcdef")
  result = representation.probe(values, np.array(labels), names)
  assert result.probes == ()
  assert "need two classes" in result.remarks[-1]


@pytest.mark.parametrize(
  ("neighbors", "expected"),
  [
    # One vote, a majority, ties whose nearest neighbor is 0, 1, or 2.
    ([2], 2),
    ([0, 1, 1, 2, 1], 1),
    ([0, 1, 1, 2, 0], 0),
    ([1, 0, 2, 0, 1], 1),
    ([2, 1, 0], 2),
    ([2, 1, 1, 0, 0], 1),
  ],
)
def test_the_nearest_neighbor_decides_between_classes_with_equal_votes(
  neighbors, expected
):
  angles = 0.1 * np.arange(len(neighbors) + 1)
  values = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
  labels = np.array([0, *neighbors])
  folds = np.array([0] + [1] * len(neighbors))
  votes = probes._vote(values, labels, 3, folds, len(neighbors))
  assert votes[0] == expected


def test_four_examples_have_probes():
  labels = np.array([0, 0, 1, 1])
  result = representation.probe(features(4), labels, ("a", "b"))
  assert len(result.probes) == 2


def test_many_rows_are_sampled(monkeypatch):
  monkeypatch.setattr(probes, "MAX_ROWS", 30)
  values, labels = clusters()
  result = representation.probe(values, labels, ("a", "b", "c"))
  assert len(result.rows) == 30
  assert "30 random rows of 60" in result.remarks[0]


@pytest.mark.parametrize("successes", [0, 3, 10])
def test_the_wilson_interval_contains_the_share(successes):
  low, high = wilson_interval(successes, 10)
  assert 0 <= low <= successes / 10 <= high <= 1
  assert high - low > 0.2


def test_the_wilson_interval_is_that_of_the_paper():
  assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@pytest.mark.slow
def test_no_matrix_of_all_similarities_is_in_memory(peak_memory):
  lines, peak = peak_memory("""
import numpy as np
from dlcore import representation
values = np.random.default_rng(0).normal(size=(30_000, 16))
unit = representation.unit_rows(values)
print(representation.similar_pairs(unit, 0.95, 1000).total)
print(representation.nearest_neighbors(unit[:5000], unit, 5).index.shape)
""")
  assert int(lines[0]) > 0
  assert peak < 1_000_000  # kB; a matrix of float32 has 3.6 GB.

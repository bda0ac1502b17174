"""Scores of a search are those of a comparison of all pairs."""

import numpy as np
import pytest

from dlcore.metrics import retrieval_scores as scores

random = np.random.default_rng(0)


def pairs(size):
  values = random.normal(size=(2, size, 4))
  return values / np.linalg.norm(values, axis=-1, keepdims=True)


def distinct(size):
  return np.arange(2 * size).reshape(size, 2)


def test_ranks_and_loss_are_those_of_sorted_similarities(monkeypatch):
  monkeypatch.setattr(scores, "ROWS", 4)  # Several pieces.
  first, second = pairs(11)
  near = first @ second.T
  order = [sorted(row, reverse=True) for row in near]
  ranks = np.array([1 + r.index(near[i, i]) for i, r in enumerate(order)])
  probability = np.exp(near / 0.1)
  probability /= probability.sum(1, keepdims=True)
  found = scores.retrieval_scores(first, second, distinct(11), 0.1)
  expected = {
    "loss": -np.log(np.diag(probability)).mean(),
    "recall_at_1": np.mean(ranks == 1),
    "recall_at_10": np.mean(ranks <= 10),
    "mrr": np.mean(1 / ranks),
  }
  assert found == pytest.approx(expected)


def test_equal_embeddings_of_all_texts_have_no_recall():
  same = np.tile([[1.0, 0.0]], (20, 1))
  found = scores.retrieval_scores(same, same, distinct(20), 0.1)
  assert found["recall_at_10"] == 0
  assert found["mrr"] == pytest.approx(1 / 20)


@pytest.mark.parametrize(
  "ids",
  [
    [[0, 1], [0, 2], [3, 4]],  # The same first text.
    [[0, 1], [2, 1], [3, 4]],  # The same second text.
    [[0, 1], [2, 0], [3, 4]],  # The first text is a second one elsewhere.
  ],
)
def test_candidates_that_may_be_right_are_left_out(ids):
  first = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
  second = np.array([[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]])
  mask = scores.may_be_right(np.array(ids), np.array(ids))
  assert mask[0].tolist() == [True, True, False]
  found = scores.retrieval_scores(first, second, np.array(ids), 0.1)
  other = scores.retrieval_scores(first, second, distinct(3), 0.1)
  assert found["recall_at_1"] > other["recall_at_1"]
  assert found["loss"] < other["loss"]


def test_a_small_temperature_has_a_finite_loss():
  first = np.eye(2)
  found = scores.retrieval_scores(first, first[::-1], distinct(2), 1e-4)
  assert found["loss"] == pytest.approx(1e4)

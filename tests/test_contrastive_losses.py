"""Losses by comparison within a batch equal their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.contrastive_losses import (
  cosine_similarity,
  ranking_loss,
  supervised_contrastive_loss,
  unit,
)

random = np.random.default_rng(0)
FEATURES = random.normal(size=(6, 5))
LABELS = np.array([0, 1, 0, 2, 1, 0])


def rows(features):
  return features / np.linalg.norm(features, axis=1, keepdims=True)


def supervised(features, labels, temperature):
  """Equation 2 of arXiv:2004.11362, for the examples with positives."""
  scores = rows(features) @ rows(features).T / temperature
  values = []
  for i, label in enumerate(labels):
    others = [a for a in range(len(labels)) if a != i]
    positives = [p for p in others if labels[p] == label]
    total = np.log(sum(np.exp(scores[i, a]) for a in others))
    terms = [total - scores[i, p] for p in positives]
    values.append(np.mean(terms) if terms else 0.0)
  return np.array(values)


def test_the_ranking_loss_is_the_cross_entropy_of_the_candidates():
  scores = 20 * random.normal(size=(6, 6))
  kept = random.random((6, 6)) > 0.4
  expected = []
  for i in range(6):
    candidates = [j for j in range(6) if kept[i, j] or j == i]
    total = sum(np.exp(scores[i, j] - scores[i, i]) for j in candidates)
    expected.append(np.log(total))
  values = ranking_loss(jnp.asarray(scores), jnp.asarray(kept))
  np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_supervised_loss_is_that_of_the_paper(temperature):
  valid = np.ones(6, bool)
  values, weights = supervised_contrastive_loss(
    jnp.asarray(FEATURES), LABELS, valid, temperature
  )
  expected = supervised(FEATURES, LABELS, temperature)
  np.testing.assert_allclose(values, expected, rtol=1e-5)
  # Class 2 has one example.
  np.testing.assert_array_equal(weights, [1, 1, 1, 0, 1, 1])


def test_padding_is_neither_positive_nor_negative():
  valid = np.array([True, True, True, False, True, True])
  padded = np.where(valid[:, None], FEATURES, 9.0)
  values, weights = supervised_contrastive_loss(
    jnp.asarray(padded), np.where(valid, LABELS, 0), valid, 0.1
  )
  expected = supervised(FEATURES[valid], LABELS[valid], 0.1)
  np.testing.assert_allclose(values[valid], expected, rtol=1e-5)
  assert weights[3] == 0


def test_gradients_are_finite_for_zeros_and_without_positives():
  @jax.grad
  def gradient(features, labels):
    values, weights = supervised_contrastive_loss(
      features, labels, jnp.ones(4, bool), 0.1
    )
    return (values * weights).sum() + cosine_similarity(
      features[:2], features[2:]
    ).sum()

  for labels in ([0, 1, 2, 3], [0, 0, 1, 1]):
    assert np.isfinite(gradient(jnp.zeros((4, 3)), jnp.array(labels))).all()


def test_the_cosine_is_that_of_numpy():
  one, other = FEATURES[:3], FEATURES[3:]
  expected = (rows(one) * rows(other)).sum(1)
  values = cosine_similarity(jnp.asarray(one), jnp.asarray(other))
  np.testing.assert_allclose(values, expected, rtol=1e-5)
  np.testing.assert_allclose(unit(jnp.asarray(one)), rows(one), rtol=1e-5)

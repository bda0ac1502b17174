"""Hashed n-grams: their buckets, boundaries and padding."""

import jax
import numpy as np
import pytest

from dlcore.layers import add_boundaries, hash_ngrams, weighted_rows

BUCKETS = 1000


def mix(x):
  y = x * 0x9E3779B1 % 2**32
  return y ^ (y >> 15)


def bucket(ids, buckets=BUCKETS):
  """Returns the bucket of an n-gram by integers of any size."""
  value = 0x811C9DC5
  for token in ids:
    value = mix(value ^ token)
  return mix(value) % buckets


def test_the_buckets_of_a_text_never_change():
  ids = np.array([[104, 101, 106]], np.int32)
  index, complete = hash_ngrams(ids, ids > 0, (1, 3), 65_536)
  # Checkpoints hold a row of the table for each of them.
  assert index[0].tolist() == [17472, 18014, 59923, 38608]
  assert complete.all()


@pytest.mark.parametrize("sizes", [(1,), (2, 3), (1, 2, 3, 4, 5)])
def test_the_buckets_are_those_of_the_formula(sizes):
  generator = np.random.default_rng(0)
  ids = generator.integers(0, 2**31 - 1, (3, 4)).astype(np.int32)
  index, complete = jax.jit(hash_ngrams, static_argnums=(2, 3))(
    ids, np.ones_like(ids, bool), sizes, BUCKETS
  )
  for row, buckets in zip(ids.tolist(), index.tolist(), strict=True):
    windows = [row[i : i + n] for n in sizes for i in range(len(row) - n + 1)]
    assert buckets == [bucket(window) for window in windows]
  assert complete.all()


def test_an_ngram_with_padding_is_incomplete():
  mask = np.array([[0, 1, 1, 0, 1]], bool)
  _, complete = hash_ngrams(np.ones((1, 5), np.int32), mask, (1, 2), BUCKETS)
  assert complete[0].tolist() == [
    *(False, True, True, False, True),
    *(False, True, False, False),
  ]


def test_rows_shorter_than_an_ngram_have_none():
  ids = np.ones((2, 2), np.int32)
  index, complete = hash_ngrams(ids, ids > 0, (3,), BUCKETS)
  assert index.shape == complete.shape == (2, 0)


def test_pairs_of_words_collide_as_often_as_random_numbers():
  buckets = 2**16
  pairs = np.stack(np.meshgrid(*[np.arange(256)] * 2), -1).reshape(-1, 2)
  index, _ = hash_ngrams(pairs.astype(np.int32), pairs >= 0, (2,), buckets)
  counts = np.bincount(np.asarray(index)[:, 0], minlength=buckets)
  # Poisson with a mean of 1: the variance is 1 with a deviation of 0.006.
  assert counts.mean() == 1
  assert abs(counts.var() - 1) < 0.03


@pytest.mark.parametrize(
  ("mask", "expected"),
  [
    ([1, 1, 1], [-1, 5, 6, 7, -2]),
    ([1, 1, 0], [-1, 5, 6, -2, None]),
    ([0, 1, 1], [None, -1, 6, 7, -2]),
    ([0, 1, 0], [None, -1, 6, -2, None]),
    ([1, 0, 1], [-1, 5, None, 7, -2]),
    ([0, 0, 0], [None] * 5),
  ],
)
def test_boundaries_are_next_to_the_outermost_tokens(mask, expected):
  ids, mask = np.array([[5, 6, 7]], np.int32), np.array([mask], bool)
  wider, kept = add_boundaries(ids, mask, -1, -2)
  assert [
    int(i) if k else None for i, k in zip(wider[0], kept[0], strict=True)
  ] == expected


def test_rows_are_summed_and_their_gradient_is_that_of_the_formula():
  generator = np.random.default_rng(0)
  table = generator.normal(size=(7, 3)).astype(np.float32)
  index = generator.integers(0, 7, (2, 5))
  weights = generator.normal(size=(2, 5)).astype(np.float32)
  output = generator.normal(size=(2, 3)).astype(np.float32)

  def loss(table, weights):
    return (weighted_rows(table, index, weights) * output).sum()

  value, gradients = jax.value_and_grad(loss, (0, 1))(table, weights)
  rows = np.zeros((7, 3))
  for b, i in np.ndindex(index.shape):
    rows[index[b, i]] += weights[b, i] * output[b].astype(np.float64)
  np.testing.assert_allclose(value, (rows * table).sum(), rtol=1e-5)
  np.testing.assert_allclose(gradients[0], rows, rtol=1e-5, atol=1e-6)
  expected = np.einsum("bnd,bd->bn", table[index].astype(np.float64), output)
  np.testing.assert_allclose(gradients[1], expected, rtol=1e-5, atol=1e-6)

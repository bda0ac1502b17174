"""Orders are pure functions of (seed, batch index) that drop no example."""

import dataclasses
import hashlib
import itertools
import pickle

import numpy as np
import pytest

from dlcore import data
from dlcore.data import order as orders
from dlcore.errors import UserError

LENGTHS = np.random.default_rng(0).geometric(0.05, 500).clip(1, 120)
ORDERS = {
  "shuffled": data.shuffled(50, 8),
  "weighted": data.weighted(np.arange(50.0), 8),
  "bucketed": data.bucketed(LENGTHS, 16, (8, 16, 32, 56, 120)),
  "bucketed by default": data.bucketed(LENGTHS, 16),
  "bucketed, fewer examples than rows": data.bucketed([3, 5, 9], 8),
  "class pairs": orders.class_pairs(np.arange(50) % 7, 8),
  "class pairs, odd": orders.class_pairs(np.arange(50) % 7, 9),
  "sequential": data.sequential(50, 8),
  "in_order": data.in_order(50, 8),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_is_immutable_and_a_key(name):
  order = ORDERS[name]
  with pytest.raises(dataclasses.FrozenInstanceError):
    order.batch_size = 9
  assert {order: 1}[order] == 1


@pytest.mark.parametrize("name", ORDERS)
def test_a_batch_is_a_pure_function_of_seed_and_index(name):
  order = ORDERS[name]
  straight = [order(7, i) for i in range(40)]
  orders.permutation.cache_clear()
  again = pickle.loads(pickle.dumps(order))
  for i in reversed(range(40)):
    rows = again(7, i)
    np.testing.assert_array_equal(rows.index, straight[i].index)
    assert rows.length == straight[i].length
    assert rows.index.dtype == np.int32
    assert rows.index.shape == (order.batch_size,)
    assert rows.length in order.shapes
    assert rows.index.max() < order.size
    assert order.padded or rows.index.min() >= 0


@pytest.mark.parametrize("name", ["shuffled", "weighted", "bucketed"])
def test_another_seed_is_another_order(name):
  order = ORDERS[name]
  assert not np.array_equal(order(1, 0).index, order(2, 0).index)
  assert not np.array_equal(order(1, 0).index, order(1, 1).index)


@pytest.mark.parametrize("batch_size", [1, 7, 10, 32])
def test_every_example_occurs_once_per_epoch(batch_size):
  size, epochs = 10, 7
  order = data.shuffled(size, batch_size)
  count = size * epochs // batch_size
  rows = np.concatenate([order(3, i).index for i in range(count + 1)])
  for epoch in rows[: size * epochs].reshape(epochs, size):
    assert sorted(epoch) == list(range(size))


def test_shuffled_batches_are_those_of_version_0_1():
  digest = hashlib.sha256()
  for seed in (0, 1, 7, 2**32 - 1):
    for size, batch_size in ((10, 3), (808, 64), (1000, 128), (5, 12)):
      for index in (0, 1, 5, 77, 1000):
        digest.update(data.shuffled(size, batch_size)(seed, index).index)
  assert digest.hexdigest() == (
    "9ff8b3ecfe4f1268c05e788f82674cbda447e05217389fff10efcca420fd9577"
  )


@pytest.mark.parametrize(
  ("name", "expected"),
  [("weighted", "e6a660cd052873f7"), ("bucketed", "9840b1f04caec0de")],
)
def test_random_orders_are_the_same_in_all_versions(name, expected):
  digest = hashlib.sha256()
  for index in range(100):
    digest.update(ORDERS[name](3, index).index)
  assert digest.hexdigest()[:16] == expected


def test_the_permutation_of_an_epoch_is_the_same_in_all_versions():
  expected = [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
  assert orders.permutation(0, 0, 10).tolist() == expected


def test_pairs_are_two_examples_of_one_class():
  labels = np.repeat([0, 1, 2, 3], [1, 2, 9, 20])
  order = orders.class_pairs(labels, 8)
  pairs = np.concatenate([order(0, i).index for i in range(8)]).reshape(-1, 2)
  assert sorted(pairs[:, 0]) == list(range(32))  # An epoch.
  np.testing.assert_array_equal(*labels[pairs].T)
  same = pairs[:, 0] == pairs[:, 1]
  assert pairs[same].tolist() == [[0, 0]]  # The class of one example.
  many = np.concatenate([order(0, i).index for i in range(2000)])
  partners = many.reshape(-1, 2)
  partners = partners[partners[:, 0] == 5, 1]
  counts = np.bincount(partners, minlength=12)[3:12]
  assert counts[2] == 0
  others = np.delete(counts, 2)
  assert others.min() > 0.5 * others.mean()


def test_weighted_rows_occur_in_proportion_to_their_weights():
  order = data.weighted([0.0, 1.0, 3.0, 0.0], 100)
  rows = np.concatenate([order(0, i).index for i in range(200)])
  share = np.bincount(rows, minlength=4) / len(rows)
  np.testing.assert_allclose(share, [0, 0.25, 0.75, 0], atol=0.01)
  assert share[0] == share[3] == 0


@pytest.mark.parametrize(
  "weights", [[], [0.0], [1.0, -1.0], [1.0, np.nan], [[1.0]]]
)
def test_invalid_weights_are_refused(weights):
  with pytest.raises(UserError, match=r"expected (weights|size)"):
    data.weighted(weights, 4)


@pytest.mark.parametrize("batch_size", [3, 16, 50])
def test_buckets_drop_no_example_over_epochs(batch_size):
  order = data.bucketed(LENGTHS, batch_size)
  counts = np.zeros(len(LENGTHS), int)
  batch = 0
  for epoch in range(1, 6):
    while batch < sum(order.completed(epoch)):
      np.add.at(counts, order(0, batch).index, 1)
      batch += 1
    assert epoch - 1 <= counts.min() <= counts.max() <= epoch
    missing = (counts < epoch).sum()
    assert missing < batch_size * len(order.shapes)


def test_a_bucket_cuts_no_example_and_wastes_little():
  order = data.bucketed(LENGTHS, 16)
  kept = padded = 0
  for i in range(300):
    rows = order(0, i)
    assert LENGTHS[rows.index].max() <= rows.length
    kept += LENGTHS[rows.index].sum()
    padded += 16 * rows.length
  assert kept / padded > 0.7
  assert LENGTHS.mean() / LENGTHS.max() < 0.2
  assert len(order.shapes) <= 5
  assert all(length % 4 == 0 for length in order.shapes)


@pytest.mark.parametrize("seed", range(6))
def test_default_buckets_have_the_least_padding(seed):
  random = np.random.default_rng(seed)
  lengths = random.geometric(0.05, 300)
  size = int(random.integers(1, 80))
  order = data.bucketed(lengths, size)
  assert min(map(len, order.members)) >= size

  def tokens(ends):
    bucket_of = np.searchsorted(ends, lengths)
    if np.bincount(bucket_of, minlength=len(ends)).min() < size:
      return np.inf
    return np.array(ends)[bucket_of].sum()

  longest = order.shapes[-1]
  shorter = range(4, longest, 4)
  # All choices of up to three buckets.
  fewer = [
    tokens([*ends, longest])
    for count in range(3)
    for ends in itertools.combinations(shorter, count)
  ]
  assert tokens(order.shapes) <= 1.03 * min(fewer)
  alone = [tokens([*order.shapes[:i], *order.shapes[i + 1 :]]) for i in (0, 1)]
  if len(order.shapes) > 2:  # None of them is superfluous.
    assert min(alone) > tokens(order.shapes)


def test_buckets_are_visited_in_mixed_order():
  order = data.bucketed(LENGTHS, 16)
  epoch = [order(0, i).length for i in range(sum(order.completed(1)))]
  assert sorted(epoch) != epoch != sorted(epoch, reverse=True)


def test_small_buckets_are_merged_with_longer_ones():
  lengths = [4] * 10 + [12] * 2 + [20] * 10 + [28] * 2
  order = data.bucketed(lengths, 4, boundaries=[8, 16, 24, 32, 64])
  assert order.shapes == (8, 32)
  assert [len(members) for members in order.members] == [10, 14]
  assert data.bucketed([3, 60], 4).shapes == (60,)


@pytest.mark.parametrize("boundaries", [[], [8, 8, 64], [0, 64], [8, 16]])
def test_boundaries_that_cut_examples_are_refused(boundaries):
  with pytest.raises(UserError, match="ascending boundaries"):
    data.bucketed([4, 60], 1, boundaries)


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (14, 4), (3, 4)])
def test_a_sequential_row_continues_the_row_of_the_batch_before(
  size, batch_size
):
  order = data.sequential(size, batch_size)
  epoch = [order(0, i) for i in range(order.num_batches)]
  for before, after in itertools.pairwise(epoch):
    inside = after.index >= 0
    np.testing.assert_array_equal(after.index[inside], before.index[inside] + 1)
  assert [bool(rows.begins.all()) for rows in epoch] == [True] + [False] * (
    order.num_batches - 1
  )
  index = np.concatenate([rows.index for rows in epoch])
  assert sorted(index[index >= 0]) == list(range(size))
  assert order.padded == (-1 in index)
  again = order(5, order.num_batches)
  np.testing.assert_array_equal(again.index, epoch[0].index)
  assert again.begins.all()


def test_the_order_of_evaluation_is_that_of_the_source():
  order = data.in_order(10, 4)
  index = [order(0, i).index.tolist() for i in range(order.num_batches)]
  assert index == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]
  assert (order.padded, data.in_order(8, 4).padded) == (True, False)


@pytest.mark.parametrize(
  "create", [data.shuffled, data.sequential, data.in_order]
)
@pytest.mark.parametrize("sizes", [(0, 4), (4, 0)])
def test_empty_orders_are_refused(create, sizes):
  with pytest.raises(UserError, match="at least 1"):
    create(*sizes)


def test_balanced_sampling_draws_every_class_as_often():
  labels = np.array([0] * 90 + [1] * 9 + [2], np.int32)
  arrays = {"features": np.zeros((100, 1), np.float32), "label": labels}
  source = data.from_arrays(arrays, classes=("a", "b", "c", "absent"))
  order = data.SAMPLINGS["balanced"](source, 300)
  drawn = [labels[order(0, step).index] for step in range(20)]
  shares = np.bincount(np.concatenate(drawn)) / 6000
  # Four standard errors of a share of 1 / 3 of 6,000.
  np.testing.assert_allclose(shares, 1 / 3, atol=4 * (2 / 9 / 6000) ** 0.5)
  np.testing.assert_array_equal(order(0, 3).index, order(0, 3).index)
  stream = source._replace(arrays=None)
  again = data.balanced(stream, 300)
  np.testing.assert_array_equal(again(0, 3).index, order(0, 3).index)


def test_uniform_sampling_is_the_shuffled_order():
  source = data.from_arrays({"features": np.zeros((9, 1), np.float32)})
  assert data.SAMPLINGS["uniform"](source, 4) == data.shuffled(9, 4)
  with pytest.raises(UserError, match="no classes"):
    data.balanced(source, 4)

"""A mixture holds every example of its parts, in the requested shares."""

import numpy as np
import pytest

from dlcore import data
from dlcore.errors import UserError


def _source(start, size, name="", **settings):
  values = np.arange(start, start + size, dtype=np.float32)
  arrays = {
    "features": values[:, None],
    "label": (np.arange(size) % 2).astype(np.int32),
  }
  settings = {"classes": ["a", "b"], "name": name or f"s{start}", **settings}
  return data.from_arrays(arrays, **settings)


def _features(source):
  rows = source.read(np.arange(source.size, dtype=np.int32))
  return rows["features"].ravel().astype(int)


@pytest.mark.parametrize("weights", [(0.7, 0.3), (7, 3)])
def test_every_source_fills_its_exact_share(weights):
  first, second = _source(0, 70), _source(1000, 20)
  mixed = data.mix((first, weights[0]), (second, weights[1]))
  features = _features(mixed)
  assert mixed.size == 100
  assert (features < 1000).sum() == 70
  counts = np.bincount(features[features >= 1000] - 1000)
  assert len(counts) == 20
  assert set(counts) == {1, 2}


@pytest.mark.parametrize("sizes", [(7, 100, 31), (1, 2, 3), (50, 50, 50)])
def test_every_example_occurs_and_repeats_differ_by_one(sizes):
  weights = (0.2, 0.5, 0.3)
  sources = [_source(1000 * i, size) for i, size in enumerate(sizes)]
  mixed = data.mix(*zip(sources, weights, strict=True))
  features = _features(mixed)
  for i, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
    part = features[features // 1000 == i] - 1000 * i
    counts = np.bincount(part, minlength=size)
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1
    assert abs(len(part) - weight * mixed.size) <= 1


@pytest.mark.parametrize(
  ("sizes", "weights", "size"),
  [
    ((5,), (2.0,), 5),
    ((10, 1), (0.3, 0.7), 34),
    ((1, 1, 1), (1, 1, 1), 3),
    ((100, 31), (0.9, 0.1), 310),
  ],
)
def test_the_epoch_is_the_shortest_whose_shares_hold_all_examples(
  sizes, weights, size
):
  parts = [_source(1000 * i, count) for i, count in enumerate(sizes)]
  mixed = data.mix(*zip(parts, weights, strict=True))
  assert mixed.size == size == len(_features(mixed))
  repeated = sum("occur" in note for note in mixed.info.notes)
  total = sum(weights)
  assert repeated == sum(
    count < round(size * weight / total)
    for count, weight in zip(sizes, weights, strict=True)
  )


def test_the_repeated_examples_are_those_of_earlier_versions():
  mixed = data.mix((_source(0, 7), 0.5), (_source(10, 5), 0.5))
  expected = [*range(7), *range(10, 15), 12, 14]
  assert _features(mixed).tolist() == expected


@pytest.mark.parametrize(("share", "resident"), [(0.625, True), (0.64, False)])
def test_a_mixture_in_memory_has_at_most_twice_the_size_of_its_parts(
  share, resident
):
  mixed = data.mix((_source(0, 30), 1 - share), (_source(100, 10), share))
  assert (mixed.arrays is not None) == resident


def test_a_mixture_of_token_ids_has_the_larger_vocabulary():
  ids = np.arange(10, dtype=np.int32)[:, None]
  parts = [data.from_arrays({"input_ids": factor * ids}) for factor in (1, 2)]
  mixed = data.mix((parts[0], 0.5), (parts[1], 0.5))
  assert mixed.info.schema == parts[1].info.schema
  assert mixed.info.schema.vocab_size == 19


def test_a_streamed_mixture_equals_the_one_in_memory():
  parts = [_source(0, 60), _source(1000, 40)]
  resident = data.mix((parts[0], 0.5), (parts[1], 0.5))
  streamed = data.mix(*((part._replace(arrays=None), 0.5) for part in parts))
  assert resident.arrays is not None
  assert streamed.arrays is None
  rows = np.random.default_rng(0).permutation(resident.size).astype(np.int32)
  one, other = resident.read(rows), streamed.read(rows)
  for name in one:
    np.testing.assert_array_equal(one[name], other[name])
    assert one[name].dtype == other[name].dtype
  assert resident.info.sha256 == streamed.info.sha256
  order = data.shuffled(streamed.size, 8)
  for one, other in zip(
    data.batches(resident, order, 0, 0, 9),
    data.batches(streamed, order, 0, 0, 9),
    strict=True,
  ):
    np.testing.assert_array_equal(one["features"], other["features"])


def test_a_mixture_that_is_mostly_repetition_is_streamed():
  mixed = data.mix((_source(0, 1000), 0.1), (_source(2000, 10), 0.9))
  assert mixed.arrays is None
  assert mixed.size == 10_000
  assert "occur 900 times" in " ".join(mixed.info.notes)


def test_the_only_example_of_a_part_counts_as_often_as_it_is_repeated():
  mixed = data.mix((_source(0, 1), 0.75), (_source(2000, 1), 0.25))
  assert mixed.size == 4
  assert mixed.arrays is not None
  mixed = data.mix((_source(0, 1), 0.8), (_source(2000, 1), 0.2))
  assert mixed.size == 5
  assert mixed.arrays is None


def test_the_checksum_depends_on_parts_and_weights():
  first, second, third = _source(0, 9), _source(100, 9), _source(200, 9)
  checksums = {
    data.mix(*parts).info.sha256
    for parts in (
      [(first, 0.5), (second, 0.5)],
      [(first, 0.6), (second, 0.4)],
      [(first, 0.5), (third, 0.5)],
    )
  }
  assert len(checksums) == 3


def test_the_statistics_are_those_of_the_mixture():
  parts = [_source(0, 60), _source(1000, 40)]
  schemas = [{"normalization": {"mean": [i], "std": [1.0]}} for i in range(2)]
  parts = [_source(1000 * i, 50, **schemas[i]) for i in range(2)]
  mixed = data.mix((parts[0], 0.8), (parts[1], 0.2))
  expected = _features(mixed)
  actual = mixed.info.schema.normalization
  np.testing.assert_allclose(actual["mean"], expected.mean(), rtol=1e-6)
  np.testing.assert_allclose(actual["std"], expected.std(), rtol=1e-6)
  same = data.mix((parts[0], 0.5), (parts[0], 0.5)).info.schema
  assert same == parts[0].info.schema


def test_lengths_of_sequences_are_mixed():
  def source(start):
    ids = np.full((6, 5), start, np.int32)
    lengths = np.arange(start, start + 6).clip(0, 5)
    return data.from_arrays({"input_ids": ids}, lengths=lengths)

  mixed = data.mix((source(0), 0.5), (source(2), 0.5))
  assert mixed.lengths.tolist() == [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 5, 5]
  assert mixed.info.schema.sequences == ("input_ids",)


@pytest.mark.parametrize(
  ("other", "field"),
  [
    ({"classes": ["a", "c"]}, "classes"),
    ({"schema": data.TableSchema(columns=("x",))}, "kind"),
    ({"target": ""}, "target"),
  ],
)
def test_sources_that_differ_are_refused(other, field):
  parts = (_source(0, 4), 0.5), (_source(0, 4, **other), 0.5)
  with pytest.raises(UserError, match=f"got {field}") as caught:
    data.mix(*parts)
  assert len(caught.value.lines) == 3


def test_sources_of_other_shapes_are_refused():
  wide = data.from_arrays({"features": np.zeros((4, 2), np.float32)})
  narrow = data.from_arrays({"features": np.zeros((4, 1), np.float32)})
  with pytest.raises(UserError, match="got inputs"):
    data.mix((wide, 0.5), (narrow, 0.5))
  targets = [np.zeros((4, width), np.float32) for width in (1, 2)]
  one, two = (
    data.from_arrays({"features": targets[0], "target": target})
    for target in targets
  )
  with pytest.raises(UserError, match="got"):
    data.mix((one, 0.5), (two, 0.5))


@pytest.mark.parametrize("weight", [0, -1, np.nan, np.inf, None, "1"])
def test_weights_that_are_not_positive_are_refused(weight):
  with pytest.raises(UserError, match="positive weights"):
    data.mix((_source(0, 4), 1), (_source(9, 4), weight))


@pytest.mark.parametrize("weights", [(), (1, 2)])
def test_a_source_without_one_weight_is_refused(weights):
  part = (_source(0, 4), *weights) if weights else _source(0, 4)
  with pytest.raises(UserError, match="expected pairs") as caught:
    data.mix((_source(9, 4), 1), part)
  assert len(caught.value.lines) == 3

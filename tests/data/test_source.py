import numpy as np
import pytest

from dlcore import data
from dlcore.data import source, split
from dlcore.errors import UserError


@pytest.mark.parametrize("batch_size", [1, 7, 10, 32])
def test_every_example_comes_once_per_epoch(batch_size):
  size, epochs = 10, 7
  count = size * epochs // batch_size
  order = np.concatenate(
    [data.indices(3, i, size, batch_size) for i in range(count + 1)]
  )
  for epoch in order[: size * epochs].reshape(epochs, size):
    assert sorted(epoch) == list(range(size))


def test_indices_are_a_pure_function_of_seed_and_batch():
  first = [data.indices(1, i, 50, 8) for i in range(20)]
  source.permutation.cache_clear()
  again = [data.indices(1, i, 50, 8) for i in reversed(range(20))][::-1]
  np.testing.assert_array_equal(first, again)
  assert first[0].dtype == np.int32
  assert not np.array_equal(first[0], data.indices(2, 0, 50, 8))


def test_the_order_of_an_epoch_is_the_same_in_all_versions():
  expected = [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
  assert source.permutation(0, 0, 10).tolist() == expected


def test_hold_out_is_stratified_and_independent_of_the_order():
  labels = np.repeat([0, 1, 2], [100, 50, 20])
  hashes = np.array(split.hash_names(map(str, range(170))))
  chosen = data.hold_out(hashes, labels, 0.1)
  assert [chosen[labels == label].sum() for label in range(3)] == [10, 5, 2]
  mixed = np.random.default_rng(0).permutation(170)
  again = data.hold_out(hashes[mixed], labels[mixed], 0.1)
  np.testing.assert_array_equal(chosen[mixed], again)


def test_the_test_split_does_not_depend_on_the_validation_split():
  hashes = split.hash_names(map(str, range(100)))
  few = split.divide(hashes, None, valid_fraction=0.0, test_fraction=0.2)
  many = split.divide(hashes, None, valid_fraction=0.5, test_fraction=0.2)
  np.testing.assert_array_equal(few["test"], many["test"])
  assert "valid" not in few
  assert sorted(np.concatenate(list(many.values()))) == list(range(100))


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 0.001])
def test_a_fraction_that_leaves_no_examples_is_refused(fraction):
  with pytest.raises(UserError, match=r"fraction|hold out"):
    split.divide(
      split.hash_names("abcdef"), None, valid_fraction=fraction, test_fraction=0
    )


def test_numbers_that_are_not_finite_are_refused_by_row_and_column():
  features = np.zeros((5, 3), np.float32)
  features[3, 1] = np.nan
  arrays = {"features": features, "label": np.zeros(5, np.int32)}
  with pytest.raises(UserError, match=r"nan in 'features', row 3, column 'b'"):
    data.from_arrays(arrays, {"columns": ["a", "b", "c"]})


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range_are_refused(label):
  arrays = {
    "features": np.zeros((3, 1), np.float32),
    "label": np.array([0, 1, label], np.int32),
  }
  with pytest.raises(UserError, match=f"got {label} in row 2"):
    data.from_arrays(arrays, {"classes": ["a", "b"]})


def test_arrays_of_ones_own_need_no_description():
  arrays = {
    "image": np.zeros((3, 4, 5, 1), np.uint8),
    "label": np.zeros(3, np.int32),
  }
  about = data.from_arrays(arrays).about
  assert (about["input"], about["target"]) == ("image", "label")
  assert (about["shape"], about["dtype"]) == ([4, 5, 1], "uint8")


def test_an_unknown_data_set_is_answered_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'digits'"):
    data.load("digit")


def test_a_constant_column_is_divided_by_one():
  features = np.array([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]], np.float32)
  found = split.statistics({"features": features})["normalization"]
  assert found["std"][0] == 1.0
  np.testing.assert_allclose(found["mean"], [0.1, 3.0], rtol=1e-6)


def test_image_statistics_equal_those_of_the_floats():
  images = np.random.default_rng(0).integers(0, 256, (1500, 4, 3, 2), np.uint8)
  found = split.statistics({"image": images})["normalization"]
  floats = images.reshape(-1, 2) / 255.0
  np.testing.assert_allclose(found["mean"], floats.mean(0), rtol=1e-12)
  np.testing.assert_allclose(found["std"], floats.std(0), rtol=1e-9)


def test_a_part_of_train_keeps_the_shares_of_the_classes_and_has_its_own_sums():
  labels = np.repeat([0, 1, 2], [100, 50, 20]).astype(np.int32)
  images = np.arange(170, dtype=np.uint8).reshape(-1, 1, 1, 1)
  whole = data.from_arrays({"image": images, "label": labels})
  part = data.limit(whole, 34)
  assert np.bincount(part.arrays["label"]).tolist() == [20, 10, 4]
  assert part.about["sha256"] != whole.about["sha256"]
  mean = part.arrays["image"].mean() / 255
  assert part.about["normalization"]["mean"] == pytest.approx([mean])
  larger = data.limit(whole, 68).arrays["image"].ravel()
  assert set(part.arrays["image"].ravel()) < set(larger)


def test_a_part_of_a_stream_is_read_by_its_own_index():
  features = np.arange(20, dtype=np.float32).reshape(-1, 1)
  whole = data.from_arrays({"features": features})
  part = data.limit(whole._replace(arrays=None), 5)
  rows = part.read(np.arange(5))["features"].ravel().tolist()
  assert part.size == len(set(rows)) == 5
  assert rows == sorted(rows)
  assert part.about["normalization"]["mean"] == pytest.approx([np.mean(rows)])


def test_a_part_cannot_be_larger_than_the_whole():
  whole = data.from_arrays({"features": np.zeros((5, 1), np.float32)})
  with pytest.raises(UserError, match=r"data\.limit of at most 5"):
    data.limit(whole, 6)

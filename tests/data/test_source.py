import numpy as np
import pytest

from dlcore import data
from dlcore.data import holdout, normalization
from dlcore.errors import UserError


def test_hold_out_is_stratified_and_independent_of_the_order():
  labels = np.repeat([0, 1, 2], [100, 50, 20])
  hashes = np.array(holdout.hash_names(map(str, range(170))))
  chosen = data.hold_out(hashes, labels, 0.1)
  assert [chosen[labels == label].sum() for label in range(3)] == [10, 5, 2]
  mixed = np.random.default_rng(0).permutation(170)
  again = data.hold_out(hashes[mixed], labels[mixed], 0.1)
  np.testing.assert_array_equal(chosen[mixed], again)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.5])
def test_equal_examples_are_on_one_side_whatever_their_labels(fraction):
  rng = np.random.default_rng(0)
  contents = np.concatenate([rng.integers(0, 150, 400), np.arange(150, 200)])
  labels = rng.integers(0, 3, len(contents))
  hashes = np.array(holdout.hash_names(map(str, contents)))
  chosen = data.hold_out(hashes, labels, fraction)
  assert not set(contents[chosen]) & set(contents[~chosen])
  assert abs(chosen.mean() - fraction) < 0.03
  mixed = rng.permutation(len(contents))
  again = data.hold_out(hashes[mixed], labels[mixed], fraction)
  np.testing.assert_array_equal(chosen[mixed], again)


def test_few_contents_are_divided_between_them_and_a_single_one_is_refused():
  hashes = np.array(["a"] * 9 + ["b"])
  chosen = data.hold_out(hashes, None, 0.2)
  np.testing.assert_array_equal(chosen, hashes == "b")
  fractions = {"valid_fraction": 0.0, "test_fraction": 0.2}
  with pytest.raises(UserError, match="enough examples to hold out 0"):
    holdout.divide(hashes[:9], None, **fractions)


@pytest.mark.parametrize("settings", [{}, {"folds": 4, "fold": 1}], ids=str)
def test_equal_tokens_share_a_split_and_equal_rows_may_be_in_all(settings):
  rows = np.repeat(np.arange(40), 5)[:, None].astype(np.int32)

  def splits(name, values):
    parts = {"train": {name: values}}
    schema = data.ArraySchema(input=name)
    made = data.make_splits(parts, schema, name="own", **settings)
    return [{*part.arrays[name].ravel()} for part in made if part is not None]

  assert splits("features", rows % 2)[0] == {0, 1}
  tokens = splits("input_ids", rows)
  assert sum(map(len, tokens)) == len(set.union(*tokens)) == 40


def test_the_test_split_does_not_depend_on_the_validation_split():
  hashes = holdout.hash_names(map(str, range(100)))
  few = holdout.divide(hashes, None, valid_fraction=0.0, test_fraction=0.2)
  many = holdout.divide(hashes, None, valid_fraction=0.5, test_fraction=0.2)
  np.testing.assert_array_equal(few["test"], many["test"])
  assert "valid" not in few
  assert sorted(np.concatenate(list(many.values()))) == list(range(100))


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize(
  ("fraction", "message"),
  [
    *((x, "_fraction to be at least 0 and less than 1") for x in (-0.1, 1.0)),
    (0.001, "expected enough examples to hold out 0.001 for "),
  ],
)
def test_a_fraction_that_leaves_no_examples_is_refused(
  split, fraction, message
):
  fractions = {"valid_fraction": 0, "test_fraction": 0}
  fractions[f"{split}_fraction"] = fraction
  with pytest.raises(UserError, match=message):
    holdout.divide(holdout.hash_names("abcdef"), None, **fractions)


def test_non_finite_numbers_are_refused_by_row_and_column():
  features = np.zeros((5, 3), np.float32)
  features[3, 1] = np.nan
  arrays = {"features": features, "label": np.zeros(5, np.int32)}
  schema = data.TableSchema(columns=("a", "b", "c"))
  with pytest.raises(UserError, match=r"nan in 'features', row 3, column 'b'"):
    data.from_arrays(arrays, schema=schema)
  with pytest.raises(UserError, match=r"nan in 'features', row 3, position 1"):
    data.from_arrays(arrays)


@pytest.mark.parametrize(
  "arrays",
  [
    {},
    {"features": np.zeros((0, 2))},
    {"features": np.zeros((3, 2)), "label": np.zeros(4, np.int32)},
    {"features": np.zeros((3, 2)), "label": np.int32(1)},
  ],
)
def test_arrays_without_a_common_length_are_refused(arrays):
  with pytest.raises(UserError, match="the same N above 0 in own") as caught:
    data.from_arrays(arrays, name="own")
  assert len(caught.value.lines) == 3


def test_lists_become_arrays():
  source = data.from_arrays({"features": [[0.5], [1.5]], "label": [1, 0]})
  assert source.read(np.array([1]))["features"] == [[1.5]]


def test_labels_that_are_text_are_refused():
  arrays = {"features": np.zeros((2, 1)), "label": np.array(["a", "b"])}
  with pytest.raises(UserError, match="got the dtype <U1 in 'label'"):
    data.from_arrays(arrays, classes=["a", "b"])


@pytest.mark.parametrize("label", [-1, 2, 0.5])
def test_labels_out_of_range_are_refused(label):
  arrays = {
    "features": np.zeros((3, 1), np.float32),
    "label": np.array([0, 1, label]),
  }
  with pytest.raises(UserError, match=f"got {label} in row 2"):
    data.from_arrays(arrays, classes=["a", "b"])


def test_input_and_target_are_recognized_by_name():
  arrays = {
    "image": np.zeros((3, 4, 5, 1), np.uint8),
    "label": np.zeros(3, np.int32),
  }
  info = data.from_arrays(arrays).info
  assert (info.schema.input, info.schema.target) == ("image", "label")
  assert info.inputs == {"image": ((4, 5, 1), "uint8")}
  other = {"x": np.zeros((3, 1), np.float32), "y": np.zeros(3, np.float32)}
  assert data.from_arrays(other).info.inputs == {}
  info = data.from_arrays(other, input="x", target="y").info
  assert info.inputs == {"x": ((1,), "float32")}
  assert info.schema.target == "y"
  with pytest.raises(UserError, match="expected an array 'z'"):
    data.from_arrays(other, input="z")


@pytest.mark.parametrize(
  ("names", "settings"),
  [
    (("x", "label"), {"target": "lable"}),
    (("x", "label"), {"schema": data.ArraySchema(target="lable")}),
    (("x", "lable"), {"schema": data.ArraySchema(target="label")}),
    (("x", "lable"), {"classes": ("a", "b")}),
    (("x", "labels"), {"input": "x", "sequences": ["labls"]}),
  ],
)
def test_a_misspelled_name_of_an_array_is_refused_with_the_nearest(
  names, settings
):
  arrays = {name: np.zeros(3, np.int32) for name in names}
  with pytest.raises(UserError, match="did you mean 'l") as caught:
    data.from_arrays(arrays, name="own", **settings)
  assert len(caught.value.lines) == 3


@pytest.mark.parametrize(
  "other",
  [
    {"b": np.arange(4, dtype=np.int32)},
    {"a": np.arange(4, dtype=np.int32)[:, None]},
    {"a": np.arange(4, dtype=np.uint32)},
    {"a": np.array([0, 1, 2, 4], np.int32)},
  ],
)
def test_the_checksum_covers_names_shapes_dtypes_and_values(other):
  arrays = {"a": np.arange(4, dtype=np.int32)}
  sha256 = data.from_arrays(arrays).info.sha256
  assert data.from_arrays(dict(arrays)).info.sha256 == sha256
  assert data.from_arrays(other).info.sha256 != sha256


def test_the_checksum_does_not_depend_on_the_order_of_the_arrays():
  arrays = {"a": np.arange(4), "b": np.ones(4)}
  backwards = dict(reversed(arrays.items()))
  one, two = map(data.from_arrays, (arrays, backwards))
  assert one.info.sha256 == two.info.sha256


@pytest.mark.parametrize(
  ("name", "ids", "got"),
  [
    ("input_ids", [[0.0, 1.0]], "float64"),
    ("input_ids", [[False, True]], "bool"),
    ("token_type_ids", [[0.0, 1.0]], "float64"),
    ("decoder_input_ids", [[-100, 1]], "got -100 to 1"),
    ("input_ids", [[0, -1]], "got -1 to 0"),
    ("input_ids", [[0, 9]], "got 0 to 9"),
  ],
)
def test_token_ids_are_integers_of_the_vocabulary(name, ids, got):
  arrays = {"input_ids": np.zeros((1, 2), np.int32), name: np.array(ids)}
  with pytest.raises(UserError, match=got) as caught:
    data.from_arrays(arrays, schema=data.ArraySchema(vocab_size=9))
  assert len(caught.value.lines) == 3


def test_the_vocabulary_covers_the_ids_of_all_splits(monkeypatch):
  ids = np.arange(20, dtype=np.int32).reshape(10, 2)
  arrays = {"input_ids": ids, "label": np.zeros(10, np.int32)}
  assert data.from_arrays(arrays).info.schema.vocab_size == 20
  schema = data.ArraySchema(classes=("a", "b"))
  test = {**arrays, "input_ids": 2 * ids}
  splits = data.make_splits(
    {"train": arrays, "test": test}, schema, name="ids", valid_fraction=0.5
  )
  assert [part.info.schema.vocab_size for part in splits] == [39] * 3
  assert data.limit(splits.train, 2).info.schema.vocab_size == 39
  separate = data.Splits(*map(data.from_arrays, (arrays, arrays, test)))
  monkeypatch.setitem(data.DATASETS, "ids", lambda: separate)
  sizes = [part.info.schema.vocab_size for part in data.load("ids")]
  assert sizes == [39] * 3


def test_splits_of_arrays_need_no_hashes_and_do_not_depend_on_the_order():
  features = np.arange(20, dtype=np.float32)[:, None]
  schema = data.ArraySchema(classes=("a", "b"))

  def split(rows):
    arrays = {"features": features[rows], "label": rows % 2}
    parts = data.make_splits(
      {"train": arrays}, schema, name="own", test_fraction=0.2
    )
    return [sorted(part.arrays["features"].ravel()) for part in parts]

  rows = np.arange(20)
  assert split(rows) == split(rows[::-1])
  assert [len(part) for part in split(rows)] == [14, 2, 4]


def test_splits_of_malformed_parts_are_refused():
  features = np.zeros((4, 1), np.float32)
  schema = data.ArraySchema()

  def split(parts, **settings):
    return data.make_splits(parts, schema, name="own", **settings)

  with pytest.raises(UserError, match="did you mean 'valid'"):
    split({"train": {"features": features}, "vald": {"features": features}})
  with pytest.raises(UserError, match="the same N above 0 in own"):
    split({"train": {"features": features, "label": [0, 1]}})
  with pytest.raises(ValueError, match="expected 4 hashes, got 3"):
    split({"train": {"features": features}}, hashes="abc")


def test_token_ids_come_with_their_masks():
  ids = np.ones((3, 4), np.int32)
  arrays = {"input_ids": ids, "attention_mask": ids, "target": ids}
  info = data.from_arrays({**arrays, "decoder_input_ids": ids}).info
  expected = ["input_ids", "attention_mask", "decoder_input_ids"]
  assert list(info.inputs) == expected
  assert info.inputs["input_ids"] == ((4,), "int32")


def test_sequences_are_the_arrays_with_one_value_per_token():
  ids = np.ones((3, 4), np.int32)
  arrays = {"input_ids": ids, "target": ids, "label": ids[:, 0]}
  lengths = np.array([1, 2, 4])
  source = data.from_arrays(arrays, target="target", lengths=lengths)
  assert source.info.schema.sequences == ("input_ids", "target")
  assert source.lengths.dtype == np.int32
  source = data.from_arrays(
    {**arrays, "decoder_input_ids": ids}, lengths=lengths
  )
  assert source.info.schema.sequences == ("input_ids",)


def test_sequences_of_vectors_have_lengths():
  arrays = {"features": np.ones((3, 4, 2), np.float32)}
  source = data.from_arrays(arrays, lengths=[1, 2, 4])
  assert source.info.schema.sequences == ("features",)


@pytest.mark.parametrize(
  "lengths", [[1, 2], [1, 2, 5], [1, 2, -1], [1, 2, 3], [1, 2, 3.5]]
)
def test_lengths_that_cut_tokens_are_refused(lengths):
  ids = np.ones((3, 4), np.int32)
  with pytest.raises(ValueError, match="lengths"):
    data.from_arrays({"input_ids": ids, "attention_mask": ids}, lengths=lengths)


def test_a_sequence_may_be_empty_or_whole():
  ids = np.ones((2, 4), np.int32)
  source = data.from_arrays({"input_ids": ids}, lengths=[0, 4])
  assert source.lengths.tolist() == [0, 4]


def test_statistics_of_another_width_are_refused():
  arrays = {"features": np.zeros((3, 2), np.float32)}
  with pytest.raises(ValueError, match="1 means and 1 deviations for 2"):
    data.from_arrays(arrays, normalization={"mean": [0], "std": [1]})


def test_a_source_is_printed_in_one_line():
  source = data.load("digits").train
  assert repr(source) == (
    "Source(digits: 808 examples in memory, image uint8[8, 8, 1] -> label "
    "(10 classes), sha256 bfd47007a6d2)"
  )
  unknown = data.from_arrays({"x": np.zeros((3, 1))})
  assert "\n" not in repr(unknown._replace(arrays=None))
  assert "streamed, unknown inputs" in repr(unknown._replace(arrays=None))


def test_unknown_names_are_reported_with_the_nearest():
  with pytest.raises(UserError, match="did you mean 'digits'"):
    data.load("digit")
  for name in ("digits", "mnist", "table_csv"):
    with pytest.raises(UserError, match="did you mean 'valid_fraction'"):
      data.load(name, valid_fracton=0.2)


def test_a_constant_column_is_divided_by_one():
  features = np.array([[0.1, 1.0], [0.1, 3.0], [0.1, 5.0]], np.float32)
  actual = normalization.statistics({"features": features})["normalization"]
  assert actual["std"][0] == 1.0
  np.testing.assert_allclose(actual["mean"], [0.1, 3.0], rtol=1e-6)


def test_statistics_of_several_targets_are_per_column():
  target = np.array([[1.0, 100.0], [3.0, 300.0]], np.float32)
  arrays = {"features": np.zeros((2, 1), np.float32), "target": target}
  expected = {"mean": [2.0, 200.0], "std": [1.0, 100.0]}
  actual = normalization.statistics(arrays)["target_normalization"]
  assert actual == expected
  settings = {"mean": target.mean(0), "std": target.std(0)}
  source = data.from_arrays(arrays, target_normalization=settings)
  assert source.info.schema.target_normalization == expected
  for one in (target[:, 0], target[:, :1]):
    scalars = normalization.statistics({"target": one})["target_normalization"]
    assert scalars == {"mean": 2.0, "std": 1.0}
    with pytest.raises(ValueError, match="target_normalization of two"):
      data.from_arrays({**arrays, "target": one}, target_normalization=settings)


def test_image_statistics_equal_those_of_the_floats():
  images = np.random.default_rng(0).integers(0, 256, (1500, 4, 3, 2), np.uint8)
  actual = normalization.statistics({"image": images})["normalization"]
  floats = images.reshape(-1, 2) / 255.0
  np.testing.assert_allclose(actual["mean"], floats.mean(0), rtol=1e-12)
  np.testing.assert_allclose(actual["std"], floats.std(0), rtol=1e-9)
  actual = normalization.statistics({"image": images / 255.0})["normalization"]
  np.testing.assert_allclose(actual["mean"], floats.mean(0), rtol=1e-12)


def test_a_subset_of_train_keeps_class_shares_and_has_its_own_checksum():
  labels = np.repeat([0, 1, 2], [100, 50, 20]).astype(np.int32)
  images = np.arange(170, dtype=np.uint8).reshape(-1, 1, 1, 1)
  train = data.from_arrays({"image": images, "label": labels})
  part = data.limit(train, 34)
  assert np.bincount(part.arrays["label"]).tolist() == [20, 10, 4]
  assert part.info.sha256 != train.info.sha256
  assert part.info.size == part.size == 34
  mean = part.arrays["image"].mean() / 255
  assert part.info.schema.normalization["mean"] == pytest.approx([mean])
  larger = data.limit(train, 68).arrays["image"].ravel()
  assert set(part.arrays["image"].ravel()) < set(larger)


def test_a_subset_of_a_stream_is_read_by_its_own_index():
  features = np.arange(20, dtype=np.float32).reshape(-1, 1)
  train = data.from_arrays({"features": features})
  part = data.limit(train._replace(arrays=None), 5)
  rows = part.read(np.arange(5))["features"].ravel().tolist()
  assert part.size == len(set(rows)) == 5
  assert rows == sorted(rows)
  mean = np.mean(rows)
  assert part.info.schema.normalization["mean"] == pytest.approx([mean])


def test_a_subset_has_the_lengths_of_its_examples():
  ids = np.arange(20, dtype=np.int32).reshape(-1, 1).repeat(3, axis=1)
  lengths = np.arange(20) % 3
  train = data.from_arrays({"input_ids": ids}, lengths=lengths)
  for source in (train, train._replace(arrays=None)):
    part = data.limit(source, 7)
    rows = part.read(np.arange(7))["input_ids"][:, 0]
    assert part.lengths.tolist() == (rows % 3).tolist()


def test_a_subset_cannot_be_larger_than_the_whole():
  train = data.from_arrays({"features": np.zeros((5, 1), np.float32)})
  with pytest.raises(UserError, match=r"limit from 1 to 5"):
    data.limit(train, 6)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
@pytest.mark.parametrize("array", ["features", "target"])
def test_numbers_that_float32_would_merge_are_refused(dtype, array):
  numbers = (1_700_000_000 + np.arange(72)).astype(dtype)
  arrays = {
    "features": np.arange(144.0).reshape(72, 2),
    "target": np.arange(72.0),
  }
  arrays[array] = (arrays[array].T + 1_700_000_000).T.astype(dtype)
  with pytest.raises(UserError, match=f"{array!r}, column 0, rounded by"):
    data.from_arrays(arrays)
  arrays[array] = (arrays[array].T - numbers[0]).T
  data.from_arrays(arrays)


def test_numbers_that_float32_keeps_apart_are_accepted():
  features = np.stack(
    [
      np.full(50, 0.1) + 1e-17 * np.arange(50),
      101325 + np.random.default_rng(0).normal(0, 500, 50),
      np.arange(50),
    ],
    1,
  )
  data.from_arrays({"features": features, "target": np.arange(50)})


@pytest.mark.parametrize("name", ["begins", "index", "mask", "share", "slot"])
def test_names_of_the_loader_and_of_augmentations_are_refused(name):
  arrays = {"features": np.zeros((3, 1)), name: np.ones(3)}
  with pytest.raises(UserError, match=f"got {name!r}\nrename it") as caught:
    data.from_arrays(arrays)
  assert len(caught.value.lines) == 3


@pytest.mark.parametrize(
  ("classes", "message"),
  [
    ("ab", "a sequence of class names in own\ngot 'ab'"),
    (2, "got 2"),
    (("a", "b", "a"), "distinct class names in own\ngot 'a' twice"),
    ((1, "1"), "got '1' twice"),
  ],
)
def test_class_names_are_distinct_strings(classes, message):
  arrays = {"features": np.zeros((3, 1)), "label": np.array([0, 1, 0])}
  with pytest.raises(UserError, match=message):
    data.from_arrays(arrays, name="own", classes=classes)
  schema = data.ArraySchema(classes=classes)
  with pytest.raises(UserError, match=message):
    data.from_arrays(arrays, name="own", schema=schema)


@pytest.mark.parametrize("dtype", [bool, np.float32, np.float64])
def test_labels_of_other_dtypes_become_integers(dtype):
  arrays = {"features": np.zeros((3, 1)), "label": np.array([0, 1, 1], dtype)}
  source = data.from_arrays(arrays, classes=("a", "b"))
  labels = source.read(np.arange(3))["label"]
  assert labels.dtype == np.int32
  assert labels.tolist() == [0, 1, 1]
  assert source.info.targets == {"label": ((), "int32")}
  several = {**arrays, "label": arrays["label"][:, None]}
  kept = data.from_arrays(several, classes=("a", "b")).arrays["label"]
  assert kept.dtype == dtype


def test_soft_labels_are_split():
  labels = np.random.default_rng(0).dirichlet((1, 1), 20)
  arrays = {"features": np.arange(20.0)[:, None], "label": labels}
  schema = data.ArraySchema(classes=("a", "b"))
  splits = data.make_splits({"train": arrays}, schema, name="soft")
  assert splits.train.size == 18
  assert splits.train.info.targets == {"label": ((2,), "float64")}


@pytest.mark.parametrize(
  ("parts", "got"),
  [
    (("test",), "got 'test'"),
    (("training",), "got 'training'\ndid you mean 'train'"),
    ((), "got no parts"),
  ],
)
def test_parts_without_train_are_refused(parts, got):
  arrays = {"features": np.zeros((4, 1))}
  parts = dict.fromkeys(parts, arrays)
  with pytest.raises(UserError, match=f"'valid' and 'test'\n{got}"):
    data.make_splits(parts, data.ArraySchema(), name="own")


@pytest.mark.parametrize(
  ("changes", "field"),
  [
    ({"classes": ("b", "a")}, "classes"),
    ({"target": "other"}, "target"),
    ({"input": "other", "target": "label"}, "input"),
  ],
)
def test_splits_that_disagree_are_refused(monkeypatch, changes, field):
  arrays = {
    "features": np.zeros((4, 1)),
    "label": np.array([0, 1, 0, 1]),
    "other": np.zeros(4, np.int32),
  }
  train, valid = (
    data.from_arrays(arrays, **{"classes": ("a", "b"), **settings})
    for settings in ({}, changes)
  )
  monkeypatch.setitem(data.DATASETS, "own", lambda: data.Splits(train, valid))
  with pytest.raises(UserError, match=f"train and valid\ngot {field}"):
    data.load("own")


def test_splits_have_inputs_of_one_dtype_but_of_any_shape():
  def split(test):
    parts = {"train": {"image": np.zeros((4, 2, 2, 1), np.uint8)}}
    parts["test"] = {"image": test}
    return data.make_splits(
      parts, data.ArraySchema(), name="own", valid_fraction=0.5
    )

  assert split(np.zeros((4, 3, 3, 1), np.uint8)).test.size == 4
  with pytest.raises(UserError, match="train and test\ngot dtypes"):
    split(np.zeros((4, 2, 2, 1), np.float32))


@pytest.mark.parametrize(("size", "count"), [(5, 20), (3, 7), (2, 30)])
def test_classes_too_small_for_a_share_are_held_out_one_example_each(
  size, count
):
  labels = np.repeat(np.arange(count), size)
  hashes = np.array(holdout.hash_names(map(str, range(len(labels)))))
  chosen = data.hold_out(hashes, labels, 0.09)
  assert chosen.sum() == round(0.09 * len(labels))
  assert np.bincount(labels[chosen]).max() == 1
  mixed = np.random.default_rng(0).permutation(len(labels))
  again = data.hold_out(hashes[mixed], labels[mixed], 0.09)
  np.testing.assert_array_equal(chosen[mixed], again)

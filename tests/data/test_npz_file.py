"""Arrays of `.npz` files as training data."""

import numpy as np
import pytest

from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.npz_file import npz_file
from dlcore.errors import UserError


@pytest.fixture
def load(tmp_path):
  """Writes arrays and loads them."""

  def load(arrays, **settings):
    path = tmp_path / "own.npz"
    np.savez(path, **arrays)
    return npz_file(**{"path": str(path), **settings})

  return load


def _arrays(count=100, **more):
  rng = np.random.default_rng(0)
  features = rng.normal(size=(count, 3))
  return {"x": features, "y": rng.integers(0, 3, count), **more}


def test_arrays_are_split_and_converted(load):
  arrays = _arrays()
  splits = load(arrays)
  assert sum(part.size for part in splits) == 100
  schema = splits.train.info.schema
  assert (schema.input, schema.classes) == ("x", ("0", "1", "2"))
  assert splits.train.arrays["x"].dtype == np.float32
  rows = splits.test.names
  np.testing.assert_array_equal(
    splits.test.arrays["x"], np.float32(arrays["x"][rows])
  )
  np.testing.assert_array_equal(splits.test.arrays["label"], arrays["y"][rows])


def test_a_file_with_the_names_of_keras_has_its_own_splits(load):
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (60, 8, 8)).astype(np.uint8)
  names = np.array(["cat", "dog"])[np.arange(60) % 2]
  splits = load(
    {
      "x_train": images[:40],
      "y_train": names[:40],
      "x_test": images[40:],
      "y_test": names[40:],
    }
  )
  assert [part.size for part in splits] == [36, 4, 20]
  schema = splits.test.info.schema
  assert isinstance(schema, ImageSchema)
  assert schema.classes == ("cat", "dog")
  np.testing.assert_array_equal(
    splits.test.arrays["image"], images[40:, ..., None]
  )


@pytest.mark.parametrize(
  ("target", "task", "array"),
  [
    (np.arange(100) % 4 / 1.0, "classification", "label"),
    (np.arange(100) / 7, "regression", "target"),
    (np.arange(300).reshape(100, 3) / 7, "regression", "target"),
    (np.eye(3)[np.arange(100) % 3], "classification", "label"),
    (np.arange(300).reshape(100, 3) % 2, "multilabel", "label"),
    (np.arange(100) % 2 == 0, "classification", "label"),
    (np.array(["u", "v"])[np.arange(100) % 2], "classification", "label"),
  ],
)
def test_the_task_follows_from_the_target(load, target, task, array):
  splits = load(_arrays(y=target))
  info = splits.train.info
  assert f"'y': {task}" in info.notes[0]
  assert info.schema.target == array
  assert info.schema.multilabel == (task == "multilabel")
  assert bool(info.schema.classes) == (task != "regression")


def test_arrays_decide_the_splits(load):
  group = np.array([f"g{i % 10}" for i in range(100)])
  splits = load(_arrays(group=group, extra=np.zeros(100)), group="group")
  groups = [set(group[part.names]) for part in splits]
  assert not groups[0] & groups[2] | groups[0] & groups[1]
  assert "not used: extra" in "".join(splits.train.info.notes)


@pytest.mark.parametrize(
  ("change", "settings", "match"),
  [
    ({"x": np.array([None] * 100)}, {}, "object"),
    ({"y": np.arange(5)}, {}, "100"),
    ({"y": np.zeros((100, 2, 2))}, {"task": "classification"}, "fits task"),
    ({}, {"target": "label"}, "expected an array 'label'"),
    ({}, {"path": "gone.npz"}, "no such file"),
    ({}, {"task": "classify"}, "did you mean"),
    ({"x": np.full((100, 3), np.nan)}, {}, "nan"),
  ],
)
def test_malformed_arrays_are_refused(load, change, settings, match):
  with pytest.raises(UserError, match=match) as error:
    load(_arrays(**change), **settings)
  assert len(error.value.lines) <= 3


def test_a_header_that_claims_more_than_the_file_has_is_refused(tmp_path):
  path = tmp_path / "own.npz"
  np.savez(path, x=np.zeros((4, 3)), y=np.zeros(4))
  content = path.read_bytes()
  path.write_bytes(content.replace(b"(4, 3)", b"(9, 3)"))
  with pytest.raises(UserError, match="npz"):
    npz_file(path=str(path))

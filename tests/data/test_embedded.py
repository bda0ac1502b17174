import inspect
import json
import pathlib
import sys

import numpy as np
import pytest
import sklearn.datasets

from dlcore import data
from dlcore.data import sklearn_files


def test_digits_are_scikit_learns_halves_without_shuffle():
  splits = data.load("digits", valid_fraction=0)
  images, labels = sklearn.datasets.load_digits(return_X_y=True)
  half = len(images) // 2
  for part, rows in (
    (splits.train, slice(half)),
    (splits.test, slice(half, None)),
  ):
    np.testing.assert_array_equal(part.arrays["label"], labels[rows])
    back = part.arrays["image"].reshape(-1, 64) / (255 / 16)
    np.testing.assert_array_equal(np.rint(back), images[rows])
  assert splits.valid is None
  assert splits.train.arrays["image"].dtype == np.uint8


def test_breast_cancer_is_scikit_learns():
  splits = data.load("breast_cancer")
  dataset = sklearn.datasets.load_breast_cancer()
  schema = splits.train.info.schema
  assert schema.columns == tuple(dataset.feature_names)
  assert schema.classes == tuple(dataset.target_names)
  _same_rows(splits, "label", dataset.data, dataset.target)


def test_diabetes_is_scikit_learns_unscaled():
  splits = data.load("diabetes")
  dataset = sklearn.datasets.load_diabetes(scaled=False)
  assert splits.train.info.schema.columns == tuple(dataset.feature_names)
  _same_rows(splits, "target", dataset.data, dataset.target)


def _same_rows(splits, target, features, targets):
  actual = np.concatenate(
    [
      np.column_stack([part.arrays["features"], part.arrays[target]])
      for part in splits
    ]
  )
  expected = np.column_stack([features, targets]).astype(np.float32)
  assert sorted(map(tuple, actual)) == sorted(map(tuple, expected))


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "diabetes"])
def test_statistics_come_from_train_only_and_the_info_is_json(name):
  train = data.load(name).train
  content = json.loads(json.dumps(data.info_to_json(train.info)))
  info = data.info_from_json(content)
  assert info == train.info
  inputs = train.arrays[info.schema.input].astype(np.float64)
  if info.schema.input == "image":
    inputs = inputs.reshape(-1, inputs.shape[-1]) / 255
  np.testing.assert_allclose(
    info.schema.normalization["mean"], inputs.mean(0), rtol=1e-6
  )
  assert info.size == train.size


def test_the_folder_is_located_without_importlib(monkeypatch):
  folder = pathlib.Path(sklearn.datasets.__file__).parent / "data"
  assert sklearn_files.folder().samefile(folder)
  monkeypatch.setattr(sys, "path", [])
  assert sklearn_files.folder().samefile(folder)
  assert "importlib" not in inspect.getsource(sklearn_files)

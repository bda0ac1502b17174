"""Trivial answers, intervals and warnings of a split."""

import numpy as np
import pytest

from dlcore import data, tasks

SIZE = 40
FEATURES = np.arange(SIZE, dtype=np.float32)[:, None]
LABELS = (np.arange(SIZE) % 10 == 0).astype(np.int32)


def classes():
  return data.from_arrays(
    {"features": FEATURES, "label": LABELS}, classes=("cat", "dog")
  )


def assess(kind, source, rows, names):
  row = tasks.TASKS[kind].assessable
  targets = data.read_all(source, exclude=source.info.inputs)
  return tasks.assess(row, names, rows, targets, source.info)


def test_the_trivial_answer_is_the_most_frequent_class_of_train():
  rows = {"probabilities": np.tile(np.float32([0.6, 0.4]), (SIZE, 1))}
  names = ("loss", "accuracy", "balanced_accuracy", "roc_auc", "log_loss")
  result = assess("classification", classes(), rows, names)
  assert result.trivial_answer == "always 'cat'"
  assert result.trivial["accuracy"] == 0.9
  assert result.trivial["balanced_accuracy"] == 0.5
  assert result.trivial["roc_auc"] == 0.5
  entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
  assert result.trivial["loss"] == pytest.approx(entropy, rel=1e-6)
  low, high = result.intervals["accuracy"]
  assert low < 0.9 < high
  [warning] = result.warnings
  assert "'dog' (10.0%)" in warning
  assert "class_weights" in warning


def test_classes_that_are_predicted_or_absent_give_no_warning():
  p = np.tile(np.float32([0.6, 0.4]), (SIZE, 1))
  p[0] = 0.1, 0.9
  rows = {"probabilities": p}
  assert not assess("classification", classes(), rows, ["accuracy"]).warnings


def test_the_trivial_number_is_the_mean_of_train():
  target = np.float32(np.arange(SIZE) * 2)
  source = data.from_arrays(
    {"features": FEATURES, "target": target},
    target_normalization={"mean": target.mean(), "std": target.std()},
  )
  rows = {"prediction": target + 1}
  result = assess("regression", source, rows, ("loss", "mae", "rmse", "r2"))
  assert result.trivial_answer == "always the mean, 39"
  assert result.trivial["r2"] == pytest.approx(0, abs=1e-9)
  assert result.trivial["rmse"] == pytest.approx(target.std())
  assert result.intervals["mae"] == pytest.approx((1, 1))


def test_the_trivial_labels_are_those_of_most_examples():
  labels = np.float32([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0]])
  source = data.from_arrays(
    {"features": FEATURES[:4], "label": labels},
    classes=("a", "b", "c"),
    multilabel=True,
  )
  assert source.info.class_counts == (4, 1, 1)
  rows = {"probabilities": labels, "predicted": labels > 0.5}
  rows["predicted"][:, 2] = False
  result = assess("multilabel", source, rows, ("accuracy", "f1_macro"))
  assert result.trivial_answer == "always a"
  assert result.trivial["accuracy"] == pytest.approx(10 / 12)
  assert "'c' (25.0%)" in result.warnings[0]


def test_the_trivial_tag_is_the_most_frequent_one_of_tokens():
  labels = np.where(np.arange(6) % 3 == 0, 1, 0) + np.zeros((SIZE, 1), int)
  labels[:, -1] = -100
  labels[0] = -100
  ids = np.ones((SIZE, 6), np.int32)
  source = data.from_arrays(
    {"input_ids": ids, "labels": labels.astype(np.int32)},
    target="labels",
    classes=("O", "X", "Y"),
  )
  assert source.info.class_counts == (39 * 3, 39 * 2, 0)
  predicted = np.where(labels == -100, -100, 0)
  predicted[1] = 1
  rows = {"predicted": predicted, "probability": np.ones(labels.shape)}
  names = ("loss", "accuracy", "sequence_accuracy", "f1_macro")
  result = assess("tagging", source, rows, names)
  assert result.trivial_answer == "always 'O'"
  assert result.trivial["accuracy"] == pytest.approx(3 / 5)
  assert result.trivial["sequence_accuracy"] == 0
  assert result.trivial["f1_macro"] == pytest.approx(0.75 / 2)
  # Only one sequence is not predicted as the others.
  low, high = result.intervals["accuracy"]
  share = 3 / 5 - 1 / 39 / 5
  assert low < share < high < 3 / 5 + 1e-9
  assert high - low < 0.04
  assert not result.warnings
  rows["predicted"] = np.zeros_like(predicted)
  [warning] = assess("tagging", source, rows, names).warnings
  assert "'X' (40.0%) of the tokens" in warning
  assert "tune_thresholds" not in warning


def test_data_without_counts_has_no_trivial_answer():
  source = classes()
  info = source.info._replace(class_counts=())
  source = source._replace(info=info)
  rows = {"probabilities": np.tile(np.float32([0.6, 0.4]), (SIZE, 1))}
  result = assess("classification", source, rows, ["accuracy"])
  assert result.trivial == {}
  assert result.trivial_answer == ""
  assert "accuracy" in result.intervals


def test_counts_survive_json():
  info = classes().info
  assert info.class_counts == (36, 4)
  assert data.info_from_json(data.info_to_json(info)) == info
  content = data.info_to_json(info)
  content["class_counts"] = [1]
  with pytest.raises(ValueError, match="class_counts"):
    data.info_from_json(content)

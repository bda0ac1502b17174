"""A run of `fit` that learns nothing ends with a sentence about it."""

import json
import logging

import numpy as np
import optax
import pytest

from dlcore import data, models, tasks, training
from dlcore.training.trivial_comparison import compare_with_trivial

RANDOM = np.random.default_rng(0)


def source(label, *, classes=("cat", "dog"), target="label"):
  values = np.stack([label, -label, label], 1).astype(np.float32)
  arrays = {"features": values, target: label}
  return data.from_arrays(arrays, name="pets", classes=classes)


LABELS = (np.arange(60) % 3 == 0).astype(np.int32)
"""20 dogs among 60 animals."""


def test_the_trivial_answer_is_that_of_train(tmp_path):
  splits = {"train": source(LABELS), "valid": source(1 - LABELS)}
  metrics = {"valid/accuracy": 0.9, "valid/loss": 0.1, "valid/other": 1.0}
  content = compare_with_trivial(metrics, "accuracy", splits)
  assert content["trivial"] == {"valid/accuracy": pytest.approx(1 / 3)}
  assert content["trivial_answer"] == "always 'cat'"


def test_numbers_are_compared_with_their_mean():
  target = RANDOM.normal(size=50).astype(np.float32)
  train = source(target, classes=None, target="target")
  moments = {"mean": float(target.mean()), "std": float(target.std())}
  schema = train.info.schema
  schema = type(schema)(
    **{**vars(schema), "target_normalization": moments, "target": "target"}
  )
  train = train._replace(info=train.info._replace(schema=schema))
  metrics = {"valid/r2": 0.5, "valid/rmse": 0.2}
  splits = {"train": train, "valid": train}
  trivial = compare_with_trivial(metrics, "-loss", splits)["trivial"]
  assert trivial["valid/r2"] == pytest.approx(0, abs=1e-5)
  assert trivial["valid/rmse"] == pytest.approx(moments["std"], rel=1e-5)


def test_tags_are_compared_with_the_most_frequent_one():
  labels = np.array([[0, 0, 1], [0, -100, 0]], np.int32)
  arrays = {"input_ids": np.ones((2, 3), np.int32), "labels": labels}
  train = data.from_arrays(arrays, target="labels", classes=("O", "X"))
  metrics = {"valid/accuracy": 0.9, "valid/loss": 0.1}
  splits = {"train": train, "valid": train}
  content = compare_with_trivial(metrics, "accuracy", splits)
  assert content["trivial"] == {"valid/accuracy": pytest.approx(4 / 5)}
  assert content["trivial_answer"] == "always 'O'"


def test_data_of_no_kind_and_streams_are_not_compared():
  train = source(LABELS)
  metrics = {"valid/accuracy": 0.9}
  stream = train._replace(arrays=None)
  splits = {"train": train, "valid": stream}
  assert compare_with_trivial(metrics, "-loss", splits)["trivial"] == {}
  plain = data.from_arrays({"x": np.zeros((4, 2), np.float32)}, name="x")
  splits = {"train": plain, "valid": plain}
  assert compare_with_trivial(metrics, "-loss", splits)["trivial"] == {}


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "learns"), [(0.0, False), (0.3, True)])
def test_fit_reports_a_run_that_learns_nothing(tmp_path, caplog, rate, learns):
  train = source(LABELS)
  model = models.create("mlp", widths=(), num_classes=2)
  task = tasks.classification(model, input="features")
  with caplog.at_level(logging.WARNING, "dlcore"):
    training.fit(
      task,
      optax.sgd(rate),
      train,
      train,
      steps=40,
      batch_size=24,
      workdir=tmp_path / "run",
      progress=False,
    )
  warned = "no better than always 'cat'" in caplog.text
  summary = json.loads((tmp_path / "run/summary.json").read_text())
  assert summary["trivial"] == {"valid/accuracy": pytest.approx(2 / 3)}
  page = (tmp_path / "run/report.html").read_text()
  assert warned == (not learns)
  assert ("No better than" in page) == (not learns)
  assert "examples by class" in page

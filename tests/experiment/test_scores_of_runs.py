"""Scores of a run: metrics by name, trivial answers, thresholds, sampling."""

import json

import numpy as np
import pytest

from dlcore import data, experiment
from dlcore.errors import UserError

SIZES = {"train": 360, "valid": 60, "test": 600}


def rare():
  """A data set of two classes, of which one has a twelfth of the examples."""
  random = np.random.default_rng(0)

  def source(size):
    labels = (np.arange(size) % 12 == 0).astype(np.int32)
    features = random.normal(size=(size, 2)) + labels[:, None]
    arrays = {"features": features.astype(np.float32), "label": labels}
    return data.from_arrays(arrays, name="rare", classes=("katze", "hund"))

  return data.Splits(*map(source, SIZES.values()))


@pytest.fixture(autouse=True)
def _row(monkeypatch):
  monkeypatch.setitem(data.DATASETS, "rare", rare)


def config(tiny, task=(), **sections):
  return tiny(
    data={"name": "rare", "batch_size": 16, **sections.pop("data", {})},
    task=dict(task),
    **sections,
  )


def train(tiny, folder, task=(), **sections):
  complete = config(tiny, task, **sections)
  return experiment.train(complete, folder, progress=False)


@pytest.mark.slow
def test_a_score_stands_beside_the_trivial_answer(tiny, tmp_path, caplog):
  frozen = {"optim": {"learning_rate": 1e-9, "schedule": {"name": "constant"}}}
  summary = train(tiny, tmp_path / "run", **frozen)
  assert summary["trivial"]["test/accuracy"] == pytest.approx(11 / 12)
  assert summary["trivial_answer"] == "always 'katze'"
  low, high = summary["intervals"]["test/accuracy"]
  assert low <= summary["metrics"]["test/accuracy"] <= high
  page = (tmp_path / "run/report.html").read_text()
  assert "always &#x27;katze&#x27;</th>" in page
  for warning in summary["warnings"]:
    assert warning in caplog.text


@pytest.mark.slow
def test_any_metric_may_choose_the_best_step(tiny, tmp_path):
  names = ("roc_auc", "f1_macro", "balanced_accuracy")
  training = {"steps": 6, "eval_every": 1, "best_by": "roc_auc"}
  summary = train(tiny, tmp_path / "run", {"metrics": names}, training=training)
  lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
  rows = [row for row in map(json.loads, lines) if row["split"] == "valid"]
  values = [row["roc_auc"] for row in rows]
  assert summary["metrics"]["valid/roc_auc"] == pytest.approx(max(values))
  assert {f"test/{name}" for name in names} < summary["metrics"].keys()
  evaluated = experiment.evaluate(tmp_path / "run")
  for name in names:
    value = summary["metrics"][f"test/{name}"]
    assert evaluated[name] == pytest.approx(value, rel=1e-5)


def test_a_misspelled_metric_is_refused_before_the_first_step(tiny, tmp_path):
  with pytest.raises(UserError, match="did you mean 'roc_auc'"):
    train(tiny, tmp_path / "run", {"metrics": ("roc_acu",)})
  task = {"metrics": ("roc_auc",)}
  with pytest.raises(UserError, match="best_by"):
    train(tiny, tmp_path / "other", task, training={"best_by": "f1_macro"})
  assert not (tmp_path / "other/metrics.jsonl").exists()


@pytest.mark.slow
def test_the_tuned_threshold_is_that_of_every_script(tiny, tmp_path):
  folder = tmp_path / "run"
  task = {"tune_thresholds": "f1", "metrics": ("f1_macro",)}
  summary = train(tiny, folder, task, training={"steps": 20, "eval_every": 20})
  run = experiment.RunFolder(folder)
  [threshold] = run.read_json("assets/tuned.json")["thresholds"]
  evaluated = experiment.evaluate(folder)
  value = summary["metrics"]["test/f1_macro"]
  assert evaluated["f1_macro"] == pytest.approx(value)
  features = rare().test.arrays["features"]
  np.savez(tmp_path / "new.npz", features=features)
  for row in experiment.predict(folder, [str(tmp_path / "new.npz")]):
    probable = row["probabilities"]["hund"] >= threshold
    assert (row["label"] == "hund") == probable
  # A finished run keeps it.
  assert train(tiny, folder, task, training={"steps": 20, "eval_every": 20})


@pytest.mark.slow
def test_balanced_runs_find_the_rare_class(tiny, tmp_path):
  long = {"steps": 200, "eval_every": 200}
  task = {"metrics": ("balanced_accuracy",)}
  optim = {"learning_rate": 0.02, "schedule": {"name": "constant"}}
  same = {"training": long, "optim": optim}
  plain = train(tiny, tmp_path / "plain", task, **same)
  weights = {**task, "class_weights": "balanced"}
  weighted = train(tiny, tmp_path / "weights", weights, **same)
  sampled = train(
    tiny, tmp_path / "sampled", task, data={"sampling": "balanced"}, **same
  )
  name = "test/balanced_accuracy"
  for balanced in (weighted, sampled):
    assert balanced["metrics"][name] > plain["metrics"][name]
  with pytest.raises(UserError, match="'balanced'"):
    train(tiny, tmp_path / "x", task, data={"sampling": "balance"})

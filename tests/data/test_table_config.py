"""configs/table.py: settings that follow from the training rows."""

import json
import math
import random
import runpy
from pathlib import Path

import numpy as np
import pytest

from dlcore import data, experiment
from dlcore.experiment import ridge_regression as ridge

CONFIG = Path(__file__).parent.parent.parent / "configs" / "table.py"
MODULE = runpy.run_path(str(CONFIG))


def _complete(path, **settings):
  """Returns the config of a table with the settings that `plan` returns."""
  config = MODULE["get_config"]().to_dict()
  config["data"] |= {"path": str(path), "target": "y", **settings}
  sections = {
    name: dict(config[name]) for name in ("data", "model", "optim", "training")
  }
  sections["task"] = {}
  for key, value in MODULE["plan"](config, "").items():
    section, name = key.split(".")
    sections[section][name] = value
  return experiment.config(**sections).to_dict()


def _write(path, target, count=120):
  rng = random.Random(0)
  lines = ["when,color,size,y"]
  for i in range(count):
    size = rng.random()
    color = rng.choice(["red", "blue", ""])
    lines.append(f"2020-01-{1 + i % 28:02},{color},{size:.3f},{target(size)}")
  path.write_text("\n".join(lines) + "\n")
  return path


def _decide(tmp_path, target, count=300):
  """Returns the settings for a table with this target."""
  path = _write(tmp_path / "t.csv", target, count)
  settings = {
    "path": str(path),
    "target": "y",
    "cache_dir": str(tmp_path / "c"),
  }
  return MODULE["decide"](data.load("table_file", **settings).train)


@pytest.mark.parametrize(
  ("target", "task"),
  [
    (lambda size: "big" if size > 0.5 else "small", "classification"),
    (lambda size: f"{3 * size + 1:.4f}", "regression"),
  ],
)
def test_the_task_follows_from_the_table(target, task, tmp_path):
  path = _write(tmp_path / "t.csv", target)
  config = _complete(path, cache_dir=str(tmp_path / "cache"))
  assert config["task"]["name"] == task
  assert config["data"]["batch_size"] <= 120
  assert json.loads(json.dumps(config))["data"]["name"] == "table_file"


def test_one_class_is_left_to_the_run_to_report(tmp_path):
  path = _write(tmp_path / "t.csv", lambda size: "same")
  config = MODULE["get_config"]().to_dict()
  config["data"] |= {"path": str(path), "target": "y", "task": "classification"}
  config["data"]["cache_dir"] = str(tmp_path / "cache")
  assert MODULE["plan"](config, "") == {}


@pytest.mark.parametrize("width", [3, 2_001])
def test_arrays_of_any_width_have_a_plan(tmp_path, width):
  features = np.random.default_rng(0).normal(size=(80, width))
  label = (features[:, 0] > 0).astype(np.int32)
  np.savez(tmp_path / "t.npz", features=features, label=label)
  section = {"name": "npz_file", "path": str(tmp_path / "t.npz")}
  config = experiment.complete({"data": section})
  leaves = MODULE["plan"](config, "")
  assert leaves["task.name"] == "classification"
  assert np.isfinite(leaves["optim.l2"])
  train = data.load(**section).train
  numbers = MODULE["decide"](train)["model.numbers"]
  assert numbers == (tuple(range(3)) if width == 3 else ())


def test_only_a_target_that_is_not_linear_needs_a_network(tmp_path):
  linear = _decide(tmp_path, lambda size: f"{3 * size + 1:.4f}")
  assert linear["model.widths"] == ()
  assert linear["data.valid_fraction"] == 0
  curved = _decide(tmp_path, lambda size: f"{math.cos(9 * size):.4f}")
  assert curved["model.widths"] != ()
  assert "data.valid_fraction" not in curved


def test_noise_is_penalized_more_than_a_signal(tmp_path):
  rng = random.Random(1)
  signal = _decide(tmp_path, lambda size: f"{size + rng.gauss(0, 0.1):.4f}")
  noise = _decide(tmp_path, lambda size: f"{rng.gauss(0, 1):.4f}")
  assert noise["optim.l2"] > 10 * signal["optim.l2"]


def test_a_skewed_target_is_learned_on_the_scale_that_predicts_it(tmp_path):
  rng = random.Random(2)
  product = _decide(
    tmp_path, lambda size: f"{math.exp(4 * size + rng.gauss(0, 0.1)):.4f}"
  )
  assert product["data.target_transform"] == "log"
  total = _decide(
    tmp_path, lambda size: f"{1 + size / 9 + rng.expovariate(1) ** 2:.4f}"
  )
  assert total["data.target_transform"] == "none"


@pytest.mark.parametrize("width", [3, 30])
def test_predictions_of_rows_left_out_equal_those_of_separate_fits(width):
  generator = np.random.default_rng(0)
  x, y = generator.normal(size=(20, width)), generator.normal(size=(20, 2))
  y -= y.mean(0)
  predictions = ridge.ridge_predictions(x, y)
  for strength, fitted in zip(ridge.STRENGTHS, predictions, strict=True):
    for row in range(20):
      others = np.arange(20) != row
      center, mean = x[others].mean(0), y[others].mean(0)
      rest = x[others] - center
      weights = np.linalg.solve(
        rest.T @ rest + strength * np.eye(width), rest.T @ (y[others] - mean)
      )
      expected = (x[row] - center) @ weights + mean
      np.testing.assert_allclose(fitted[row], expected, atol=1e-8)


def test_larger_tables_get_larger_networks_and_batches():
  sizes = (50, 2_000, 50_000, 10**6)
  decided = [MODULE["network_settings"](rows, 20) for rows in sizes]
  for key in ("model.widths", "data.batch_size", "training.steps"):
    values = [leaves[key] for leaves in decided]
    assert values == sorted(values)
  wide = MODULE["network_settings"](2_000, 100_000)
  assert wide["model.members"] == 1


def test_a_missing_file_is_left_to_the_run_to_report():
  assert MODULE["plan"](MODULE["get_config"]().to_dict(), "") == {}


@pytest.mark.slow
@pytest.mark.parametrize(
  "target",
  [
    lambda size: "big" if size > 0.5 else "small",
    lambda size: "edge" if abs(size - 0.5) > 0.25 else "middle",
  ],
)
def test_a_small_table_is_learned(target, tmp_path):
  path = _write(tmp_path / "t.csv", target, 300)
  config = _complete(path, cache_dir=str(tmp_path / "cache"))
  summary = experiment.train(config, tmp_path / "run", progress=False)
  assert summary["metrics"]["test/accuracy"] > 0.9
  [first, *_] = experiment.predict(tmp_path / "run", [str(tmp_path / "t.csv")])
  assert first["label"] in [target(0.0), target(0.5), target(1.0)]

"""configs/table.py: settings that follow from the training rows."""

import json
import random
import runpy
from pathlib import Path

import pytest

from dlcore import experiment

CONFIG = Path(__file__).parent.parent.parent / "configs" / "table.py"


def _complete(module, path, **settings):
  """Returns the config of a table with the settings that `plan` returns."""
  config = module["get_config"]().to_dict()
  config["data"] |= {"path": str(path), "target": "y", **settings}
  sections = {"data": dict(config["data"]), "task": {}}
  for key, value in module["plan"](config, "").items():
    section, name = key.split(".")
    sections.setdefault(section, {})[name] = value
  model = {"name": "mlp", **sections.pop("model", {})}
  return experiment.config(model=model, **sections).to_dict()


def _write(path, target, count=120):
  rng = random.Random(0)
  lines = ["when,color,size,y"]
  for i in range(count):
    size = rng.random()
    color = rng.choice(["red", "blue", ""])
    lines.append(f"2020-01-{1 + i % 28:02},{color},{size:.3f},{target(size)}")
  path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
  ("target", "task"),
  [
    (lambda size: "big" if size > 0.5 else "small", "classification"),
    (lambda size: f"{3 * size + 1:.4f}", "regression"),
  ],
)
def test_the_task_and_the_network_follow_from_the_table(target, task, tmp_path):
  _write(tmp_path / "t.csv", target)
  config = _complete(
    runpy.run_path(str(CONFIG)),
    tmp_path / "t.csv",
    cache_dir=str(tmp_path / "cache"),
  )
  assert config["task"]["name"] == task
  assert config["model"]["widths"] == ()
  assert config["data"]["batch_size"] == 32
  assert json.loads(json.dumps(config))["data"]["name"] == "table_file"


def test_larger_tables_get_larger_networks_and_batches():
  module = runpy.run_path(str(CONFIG))

  class Schema:
    classes, multilabel = ("a", "b"), False

  decided = [
    module["decide"](rows, Schema) for rows in (50, 2_000, 50_000, 10**6)
  ]
  for key in ("model.widths", "data.batch_size"):
    values = [leaves[key] for leaves in decided]
    assert values == sorted(values)
  sizes = [leaves["optim.l2"] for leaves in decided]
  assert sizes == sorted(sizes, reverse=True)


def test_a_missing_file_is_left_to_the_run_to_report(tmp_path):
  module = runpy.run_path(str(CONFIG))
  config = module["get_config"]().to_dict()
  assert module["plan"](config, "") == {}


@pytest.mark.slow
def test_a_small_table_is_learned(tmp_path):
  _write(tmp_path / "t.csv", lambda size: "big" if size > 0.5 else "small", 300)
  config = _complete(
    runpy.run_path(str(CONFIG)),
    tmp_path / "t.csv",
    cache_dir=str(tmp_path / "cache"),
  )
  summary = experiment.train(config, tmp_path / "run", progress=False)
  assert summary["metrics"]["test/accuracy"] > 0.9
  [first, *_] = experiment.predict(tmp_path / "run", [str(tmp_path / "t.csv")])
  assert first["label"] in ("big", "small")

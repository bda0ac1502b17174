"""No decision of a run reads the test split."""

import json

import numpy as np
import pytest

from dlcore import data, experiment, storage, trees
from dlcore.experiment import defaults


def outcome(workdir, monkeypatch, change):
  """Trains on digits whose test split went through `change`."""
  load = data.DATASETS["digits"]

  def changed(**settings):
    splits = load(**settings)
    return splits._replace(test=change(splits.test))

  config = defaults.complete(
    {
      "data": {"name": "digits", "batch_size": 64},
      "model": {"name": "mlp", "widths": (16,)},
      "training": {
        "steps": 120,
        "epochs": 0.0,
        "eval_every": 5,
        "patience": 3,
        "ema": 0.9,
        "best_by": "accuracy",
      },
      "optim": {"learning_rate": 0.02},
    }
  )
  with monkeypatch.context() as patch:
    patch.setitem(data.DATASETS, "digits", changed)
    summary = experiment.train(config, workdir, progress=False)
  folder = workdir / "checkpoints"
  saved = storage.read_checkpoint(folder, storage.newest_step(folder))
  text = (workdir / "metrics.jsonl").read_text()
  lines = [
    {key: line[key] for key in line if "second" not in key}
    for line in map(json.loads, text.splitlines())
  ]
  return summary, trees.flatten(saved), lines


def reversed_labels(source):
  arrays = {**source.arrays, "label": 9 - source.arrays["label"]}
  return data.from_arrays(
    arrays, name=source.info.name, schema=source.info.schema
  )


@pytest.mark.slow
def test_other_test_labels_change_only_the_test_score(tmp_path, monkeypatch):
  plain = outcome(tmp_path / "plain", monkeypatch, lambda test: test)
  other = outcome(tmp_path / "other", monkeypatch, reversed_labels)
  assert plain[0]["stopped_early"]  # There was a decision.
  assert plain[0]["best_step"] == other[0]["best_step"]
  for path, leaf in plain[1].items():
    np.testing.assert_array_equal(leaf, other[1][path], err_msg=path)
  assert plain[2] == other[2]
  assert {line["split"] for line in plain[2]} == {"train", "valid"}
  for name, value in plain[0]["metrics"].items():
    same = other[0]["metrics"][name] == value
    assert same == name.startswith("valid"), name

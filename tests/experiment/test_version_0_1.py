"""Run folders of version 0.1 are read; only continuing them is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from PIL import Image

from dlcore import data, experiment, models, storage, transfer, trees
from dlcore.errors import UserError
from dlcore.experiment import RunFolder, defaults

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "tests" / "runs_v0_1"
NAMES = ("cnn_ema", "mlp_schedule_free", "table_adafactor", "vit_frozen")
INPUTS = {
  "cnn_ema": ("image", (3, 8, 8, 1), "uint8"),
  "mlp_schedule_free": ("features", (3, 10), "float32"),
  "table_adafactor": ("features", (3, 30), "float32"),
  "vit_frozen": ("image", (3, 8, 8, 1), "uint8"),
}
EVALUATE = """
import json, sys
from dlcore import experiment
for path in sys.argv[1:]:
  print(json.dumps(experiment.evaluate(path)))
"""


@pytest.fixture
def run(request, tmp_path):
  """A copy of a run, whose files a test may change."""
  return shutil.copytree(RUNS / request.param, tmp_path / request.param)


every_run = pytest.mark.parametrize("run", NAMES, indirect=True)


@pytest.mark.slow  # Predictions are compared in the fast tier.
def test_evaluate_returns_the_numbers_of_version_0_1():
  # In a process without the XLA flags of the tests, as the numbers were made.
  result = subprocess.run(
    [sys.executable, "-c", EVALUATE, *(str(RUNS / name) for name in NAMES)],
    cwd=ROOT,
    env={**os.environ, "XLA_FLAGS": ""},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stderr
  lines = map(json.loads, result.stdout.splitlines())
  for name, values in zip(NAMES, lines, strict=True):
    recorded = json.loads((RUNS / f"{name}.json").read_text())
    assert values.pop("split") == recorded.pop("split")
    # The bits are those of jax 0.12 on one CPU; others round differently.
    assert values == pytest.approx(recorded, rel=1e-6), name


def variables(run):
  folder = RunFolder(run)
  return storage.read_variables(folder.checkpoints, folder.select_step())


def example(name):
  key, shape, dtype = INPUTS[name]
  values = np.random.default_rng(0).integers(0, 17, shape)
  return key, values.astype(dtype)


def write_inputs(run, folder):
  """Writes three examples as files that `predict` reads."""
  key, rows = example(run.name)
  folder.mkdir()
  if key == "image":
    for i, row in enumerate(rows):
      Image.fromarray(row[..., 0]).save(folder / f"{i}.png")
    return
  names = RunFolder(run).info().schema.columns
  lines = [",".join(names), *(",".join(map(str, row)) for row in rows)]
  (folder / "rows.csv").write_text("\n".join(lines) + "\n")


@every_run
@pytest.mark.fast_cases("cnn_ema", "table_adafactor")
def test_predict_and_both_exports_agree(run, shell, tmp_path):
  write_inputs(run, tmp_path / "inputs")
  answer = shell("predict", f"--workdir={run}", "inputs")
  assert answer.code == 0, answer.err
  rows = [json.loads(line) for line in answer.out.splitlines()]
  assert len(rows) == 3
  answer = shell(
    "export", f"--workdir={run}", "--format=stablehlo", "--output=m.stablehlo"
  )
  assert answer.code == 0, answer.err
  content = (tmp_path / "m.stablehlo").read_bytes()
  key, inputs = example(run.name)
  outputs = export.deserialize(bytearray(content)).call(**{key: inputs})
  for i, row in enumerate(rows):
    predicted = row.get("prediction")
    if predicted is None:
      predicted = list(row["probabilities"].values())
    exported = next(iter(outputs.values()))[i]
    np.testing.assert_allclose(exported, predicted, rtol=1e-4)


@pytest.mark.slow
@every_run
def test_weights_are_exported_and_are_a_source_of_initial_ones(
  run, shell, tmp_path, caplog
):
  caplog.set_level("INFO", "dlcore")
  config = RunFolder(run).config()
  config["init"]["source"] = str(run)
  config["training"] |= {"steps": 1, "ema": 0.0}
  config["sharding"]["devices"] = 1
  config["optim"]["learning_rate"] = 0.0
  config = defaults.select_entry(config, "optim", "sgd")
  experiment.train(config, tmp_path / "next", progress=False)
  count = len(trees.flatten(variables(run)))
  assert f"matched   {count} of {count} arrays" in caplog.text
  params = trees.flatten(variables(run)["params"])
  # Not from the checkpoint, which lacks frozen weights of the source.
  initial = trees.flatten(
    experiment.load(tmp_path / "next").variables["params"]
  )
  answer = shell(
    "export", f"--workdir={run}", "--format=safetensors", "--output=out"
  )
  assert answer.code == 0, answer.err
  _, exported = transfer.from_pretrained(tmp_path / "out")
  exported = trees.flatten(exported["params"])
  for path, leaf in params.items():
    np.testing.assert_array_equal(leaf, initial[path], err_msg=path)
    np.testing.assert_array_equal(leaf, exported[path], err_msg=path)


def test_an_export_of_version_0_1_is_a_source_of_initial_weights():
  model, exported = transfer.from_pretrained(RUNS / "cnn_export")
  assert model.stages == ((4,),)
  fields = {"num_classes": 10, "stages": ((4,),), "dense": (8,)}
  model = models.create("cnn", **fields)
  image = np.zeros((1, 8, 8, 1), np.float32)
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), image, train=False)
  )
  loaded, _ = transfer.load_pretrained(RUNS / "cnn_export", model, shapes)
  loaded, exported = trees.flatten(loaded), trees.flatten(exported)
  assert loaded.keys() == exported.keys()
  for path, leaf in exported.items():
    np.testing.assert_array_equal(leaf, loaded[path], err_msg=path)


def test_checksums_of_the_bytes_alone_are_recognized(tmp_path):
  train, _, test = data.load("digits")
  recorded = {"size": train.size, "sha256": data.sha256_v0_1(train)}
  folder = RunFolder(tmp_path)
  folder.write_json("assets/data.json", {"splits": {"train": recorded}})
  folder.compare_checksums({"train": train})
  for other in (test, None):
    with pytest.raises(UserError, match="the train data"):
      folder.compare_checksums({"train": other})


@every_run
def test_continuing_is_refused_in_three_lines(run, shell, tmp_path):
  (run / "summary.json").unlink()  # As if it was stopped before its end.
  config = json.dumps(RunFolder(run).config())
  (tmp_path / "same.py").write_text(
    "import json\nfrom dlcore import experiment\n"
    "def get_config():\n"
    f"  return experiment.config(**json.loads({config!r}))\n"
  )
  before = {path: path.read_bytes() for path in files(run)}
  answer = shell("train", f"--workdir={run}", "--config=same.py")
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "written by dlcore 0.1" in answer.err[1]
  for path, content in before.items():
    assert path.read_bytes() == content, path


def files(folder):
  return [path for path in folder.rglob("*") if path.is_file()]

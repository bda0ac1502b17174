"""Initial weights from files and runs, and exports of runs."""

import json
import shutil

import numpy as np
import pytest

from dlcore import experiment, storage, transfer, trees
from dlcore.errors import UserError
from dlcore.experiment import RunFolder
from dlcore.experiment.task_building import build_task
from dlcore.transfer.io import safetensors

SMALL = (
  "--config.model.name=mlp",
  "--config.model.widths=(8,)",
  "--config.optim.schedule.name=constant",
  "--config.sharding.devices=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny):
  """A finished run."""
  folder = tmp_path_factory.mktemp("runs") / "first"
  experiment.train(tiny(), folder, progress=False)
  return folder


def params(folder):
  checkpoints = folder / "checkpoints"
  step = storage.best_step(checkpoints)
  return trees.flatten(storage.read_variables(checkpoints, step)["params"])


def assert_same_params(one, other):
  one, other = params(one), params(other)
  assert one.keys() == other.keys()
  for path, leaf in one.items():
    np.testing.assert_array_equal(leaf, other[path], err_msg=path)


@pytest.mark.slow
def test_a_run_begins_with_weights_and_continues_without_their_source(
  run, tiny, tmp_path, caplog
):
  caplog.set_level("INFO", "dlcore")
  source = shutil.copytree(run, tmp_path / "source")

  def train(steps, source=source):
    config = tiny(
      init={"source": str(source)},
      optim={"learning_rate": 0.0},
      training={"steps": steps},
      seed=7,
    )
    experiment.train(config, tmp_path / "b", progress=False)

  train(2)
  assert_same_params(run, tmp_path / "b")
  assert "matched   4 of 4 arrays" in caplog.text
  caplog.clear()
  shutil.rmtree(source)
  train(3)
  assert_same_params(run, tmp_path / "b")
  assert "matched" not in caplog.text
  with pytest.raises(UserError, match=r"init\.source: .* in the run"):
    train(4, source=run)


def test_exported_weights_are_loaded_with_the_same_bits(run, shell):
  answer = shell(
    "export", f"--workdir={run}", "--format=safetensors", "--output=out"
  )
  assert answer.code == 0, answer.err
  assert "of the family dlcore" in answer.out
  model, variables = transfer.from_pretrained("out")
  assert model.widths == (8,)
  exported, trained = trees.flatten(variables["params"]), params(run)
  assert exported.keys() == trained.keys()
  for path, leaf in exported.items():
    np.testing.assert_array_equal(leaf, trained[path], err_msg=path)


def test_predictions_run_without_dlcore(run, shell, tmp_path):
  pytest.importorskip("flatbuffers")
  from jax import export

  answer = shell(
    "export", f"--workdir={run}", "--format=stablehlo", "--output=m.stablehlo"
  )
  assert answer.code == 0, answer.err
  assert "image [B, 8, 8, 1] of uint8" in answer.out
  content = (tmp_path / "m.stablehlo").read_bytes()
  predict = export.deserialize(bytearray(content))
  assert set(predict.platforms) == {"cpu", "cuda", "tpu"}
  images = np.random.default_rng(0).integers(0, 17, (3, 8, 8, 1), np.uint8)
  folder = RunFolder(run)
  _, task = build_task(folder.config(), folder.info())
  variables = storage.read_variables(folder.checkpoints, 3)
  want = task.predict(variables["params"], {}, {"image": images}, None)
  for count in (1, 3):
    got = predict.call(image=images[:count])["probabilities"]
    np.testing.assert_allclose(got, want["probabilities"][:count], rtol=1e-5)


@pytest.mark.slow
def test_exports_of_a_table_with_offsets_reproduce_its_predictions(tmp_path):
  pytest.importorskip("flatbuffers")
  from jax import export

  rows = [(1_700_000_000 + i, 5e9 + 3 * i) for i in range(60)]
  lines = [f"{x},{y}" for x, y in rows]
  (tmp_path / "own.csv").write_text("\n".join(["x,y", *lines]) + "\n")
  config = experiment.complete(
    {
      "data": {
        "name": "table_csv",
        "path": str(tmp_path / "own.csv"),
        "target": "y",
        "cache_dir": str(tmp_path / "cache"),
        "batch_size": 8,
      },
      "task": {"name": "regression"},
      "model": {"name": "mlp", "widths": (4,)},
      "training": {"steps": 2},
      "sharding": {"devices": 1},
    }
  )
  experiment.train(config, tmp_path / "run", progress=False)
  expected = [
    line["prediction"]
    for line in experiment.predict(
      tmp_path / "run", [str(tmp_path / "own.csv")]
    )
  ]
  x = np.array([[x] for x, _ in rows], np.float64)
  text = experiment.export(tmp_path / "run", "stablehlo", tmp_path / "a")
  assert "subtract its offsets" in text
  schema = json.loads((tmp_path / "a.json").read_text())
  shifted = (x - schema["offsets"]).astype(np.float32)
  program = export.deserialize(bytearray((tmp_path / "a").read_bytes()))
  predicted = program.call(features=shifted)["prediction"]
  predicted = np.asarray(predicted, np.float64) + schema["target_offset"]
  np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-3)
  assert abs(np.mean(expected) - 5e9) < 1000

  experiment.export(tmp_path / "run", "safetensors", tmp_path / "b")
  assert json.loads((tmp_path / "b/config.json").read_text())["schema"] == (
    schema
  )
  model, variables = transfer.from_pretrained(tmp_path / "b")
  inputs = shifted - np.float32(schema["normalization"]["mean"])
  outputs = model.apply(
    variables, inputs / np.float32(schema["normalization"]["std"]), train=False
  )
  scale = schema["target_normalization"]
  predicted = np.asarray(outputs[:, 0], np.float64) * scale["std"]
  predicted += scale["mean"] + schema["target_offset"]
  np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
  ("content", "hint"), [(None, "no such file"), (b"\x80\x02}", "a pickle")]
)
def test_a_bad_source_is_three_lines(content, hint, shell, tmp_path):
  if content is not None:
    (tmp_path / "bad").write_bytes(content)
  answer = shell("train", "--workdir=b", *SMALL, "--config.init.source=bad")
  assert (answer.code, len(answer.err)) == (2, 3)
  assert hint in answer.err[1]


@pytest.mark.slow
def test_weights_of_another_model_are_three_lines(run, shell, tmp_path):
  arrays = {"conv1.weight": np.zeros((4, 3, 7, 7), np.float32)}
  safetensors.write(tmp_path / "other.safetensors", arrays)
  source = "--config.init.source="
  answer = shell("train", "--workdir=b", *SMALL, f"{source}other.safetensors")
  assert (answer.code, len(answer.err)) == (2, 3)
  wide = "--config.model.widths=(9,)"
  answer = shell("train", "--workdir=b", *SMALL, f"{source}{run}", wide)
  assert (answer.code, len(answer.err)) == (2, 3)
  assert "the shape [9] of params/dense_0/bias" in answer.err[0]
  # The folder is free for the corrected command.
  answer = shell("train", "--workdir=b", *SMALL, "--config.training.steps=1")
  assert answer.code == 0, answer.err


@pytest.mark.parametrize(
  ("arguments", "hint"),
  [
    (("--format=onnx", "--output=x"), "'onnx'"),
    (("--output=x",), "no --format"),
    (("--format=safetensors",), "no --output"),
    (("--format=safetensors", "--output=x", "--family=bertt"), "'bertt'"),
    (("--format=stablehlo", "--output=x", "--family=bert"), "'bert'"),
    (("--format=safetensors", "--output=taken"), "File exists"),
  ],
)
def test_a_wrong_export_is_an_error(arguments, hint, run, shell, tmp_path):
  (tmp_path / "taken").touch()
  answer = shell("export", f"--workdir={run}", *arguments)
  assert answer.code == 2
  assert len(answer.err) <= 3
  assert hint in "\n".join(answer.err)
  assert not (tmp_path / "x").exists()

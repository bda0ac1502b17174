"""Runs keep the config.json of the weights that they begin with."""

import json
import shutil

import jax
import numpy as np
import pytest

from dlcore import data, experiment, models, transfer
from dlcore.errors import UserError

pytestmark = pytest.mark.slow

FIELDS = {
  "head": "classifier",
  "width": 8,
  "depth": 1,
  "num_heads": 2,
  "max_length": 8,
}
KEPT = {"eos_token_id": 3, "pad_token_id": 5, "task_specific_params": {"a": 1}}
GENERATION = {"eos_token_id": [3, 4], "temperature": 0.6}
LABELS = {"id2label": {"0": "cat", "1": "dog"}}


@pytest.fixture(autouse=True, scope="module")
def _sequences():
  """Adds data sets of token ids whose classes are numbers or have names."""

  def source(names):
    ids = np.arange(96, dtype=np.int32).reshape(16, 6) % 20
    arrays = {"input_ids": ids, "label": ids[:, 0] % 2}
    return data.from_arrays(arrays, classes=names)

  def splits(*names):
    return lambda: data.Splits(*(source(names) for _ in range(3)))

  rows = {"numbers": splits("0", "1"), "names": splits("low", "high")}
  with pytest.MonkeyPatch.context() as patch:
    for name, row in rows.items():
      patch.setitem(data.DATASETS, name, row)
    yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
  """A folder as it is published, with entries that describe no array."""
  folder = tmp_path_factory.mktemp("published") / "gpt2"
  model = models.create("gpt2", num_classes=2, vocab_size=20, **FIELDS)
  ids = np.zeros((1, 6), np.int32)
  variables = model.init(jax.random.key(0), ids, train=False)
  transfer.save_pretrained(
    folder, model, variables, config={**KEPT, **LABELS}, family="gpt2"
  )
  content = json.dumps(GENERATION)
  (folder / "generation_config.json").write_text(content)
  return folder


def fine_tune(source, workdir, name="numbers", **init):
  config = experiment.complete(
    {
      "data": {"name": name, "batch_size": 8},
      "model": {"name": "gpt2", **FIELDS},
      "init": {"source": str(source), **init},
      "training": {"steps": 2},
      "sharding": {"devices": 1},
    }
  )
  experiment.train(config, workdir, progress=False)
  return workdir


@pytest.fixture(scope="module")
def run(weights, tmp_path_factory):
  return fine_tune(weights, tmp_path_factory.mktemp("runs") / "run")


def exported(workdir, output):
  """Returns config.json and generation_config.json, None if it is missing."""
  experiment.export(workdir, "safetensors", output)
  config = json.loads((output / "config.json").read_text())
  generation = output / "generation_config.json"
  return config, json.loads(generation.read_text()) if (
    generation.exists()
  ) else None


@pytest.mark.slow
def test_an_export_has_the_ids_and_labels_of_the_published_folder(
  run, tmp_path
):
  config, generation = exported(run, tmp_path / "out")
  assert {**KEPT, **LABELS}.items() <= config.items()
  assert config["label2id"] == {"cat": 0, "dog": 1}
  assert config["architectures"] == ["GPT2ForSequenceClassification"]
  assert generation == GENERATION
  assert transfer.load_special_ids(tmp_path / "out").eos_ids == (3, 4)


@pytest.mark.slow
def test_a_run_that_begins_with_a_run_inherits_them(run, tmp_path):
  second = fine_tune(run, tmp_path / "second")
  assert exported(second, tmp_path / "b") == exported(run, tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "head", "labels"),
  [
    ("names", "published", ("low", "high")),
    ("numbers", "reinitialized", ("0", "1")),
  ],
)
def test_labels_of_the_weights_do_not_replace_those_of_the_data(
  name, head, labels, weights, tmp_path
):
  workdir = fine_tune(weights, tmp_path / "run", name, head=head)
  config, _ = exported(workdir, tmp_path / "out")
  assert tuple(config["id2label"].values()) == labels
  assert KEPT.items() <= config.items()


def test_a_run_of_a_version_without_the_file_is_exported(run, tmp_path):
  old = shutil.copytree(run, tmp_path / "old")
  (old / "assets" / "published.json").unlink()
  config, generation = exported(old, tmp_path / "out")
  assert config["id2label"] == {"0": "0", "1": "1"}
  assert not KEPT.keys() & config.keys()
  assert generation is None


@pytest.mark.slow
def test_an_attempt_that_failed_leaves_no_entries(weights, tmp_path):
  workdir = tmp_path / "run"
  fine_tune(weights, workdir)
  shutil.rmtree(workdir / "checkpoints")  # As if it had made no step.
  (workdir / "summary.json").unlink()
  fine_tune("", workdir)
  config, generation = exported(workdir, tmp_path / "out")
  assert not KEPT.keys() & config.keys()
  assert generation is None


def test_a_damaged_file_is_three_lines(run, tmp_path):
  copy = shutil.copytree(run, tmp_path / "copy")
  (copy / "sha256.json").unlink()
  for content in ("[]", '{"config.json": 3}', "{"):
    (copy / "assets" / "published.json").write_text(content)
    with pytest.raises(UserError, match=r"published\.json") as error:
      experiment.export(copy, "safetensors", tmp_path / "out")
    assert len(error.value.lines) <= 3

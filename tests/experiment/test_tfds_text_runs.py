"""The configs of texts train on TFDS's data sets by their names alone."""

from pathlib import Path

import pytest
import tfds_archives as archives

from dlcore import experiment

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = {
  "ngram_bag": {"model.width": "4", "model.buckets": "64"},
  "gru": {"model.width": "4"},
  "lstm": {"model.width": "4"},
  "bert_base": {
    "model.width": "8",
    "model.depth": "1",
    "model.num_heads": "2",
    "model.mlp_dim": "8",
  },
  "seq2seq": {"model.width": "4"},
}
"""Settings that make a model of a config small."""


@pytest.mark.parametrize(
  ("file", "name", "writer", "model", "task", "metric"),
  [
    (
      "text.py",
      "imdb_reviews",
      archives.imdb,
      "ngram_bag",
      "classification",
      "accuracy",
    ),
    (
      "text.py:gru",
      "glue/mnli",
      archives.mnli,
      "gru",
      "classification",
      "accuracy",
    ),
    (
      "text.py",
      "glue/stsb",
      archives.stsb,
      "ngram_bag",
      "regression",
      "rmse",
    ),
    (
      "docs_lm.py",
      "lm1b",
      archives.lm1b,
      "lstm",
      "language_model",
      "bits_per_character",
    ),
    (
      "docs_mlm.py",
      "lm1b",
      archives.lm1b,
      "bert_base",
      "masked_language_model",
      "masked_accuracy",
    ),
    (
      "numbers_translate.py",
      "ted_hrlr_translate/pt_to_en",
      archives.ted,
      "seq2seq",
      "sequence_to_sequence",
      "exact_match",
    ),
  ],
  ids=("imdb", "mnli", "stsb", "lm", "mlm", "ted"),
)
def test_a_config_trains_by_the_name_of_a_data_set(
  tmp_path, monkeypatch, file, name, writer, model, task, metric
):
  archives.forbid_network(monkeypatch)
  (tmp_path / "files").mkdir()
  writer(tmp_path / "files")
  config, run = experiment.read_config(
    str(CONFIGS / file),
    {
      "data.name": name,
      "data.data_dir": str(tmp_path / "data"),
      "data.cache_dir": str(tmp_path / "cache"),
      "data.manual_dir": str(tmp_path / "files"),
      "data.download": "False",
      "data.verify": "False",
      "data.batch_size": "2",
      "training.eval_batch_size": "4",
      "training.steps": "2",
      "sharding.devices": "1",
      **TINY[model],
    },
    near=CONFIGS,
  )
  assert "/" not in run  # It is the name of a folder.
  assert (config["model"]["name"], config["task"]["name"]) == (model, task)
  folder = tmp_path / "run"
  experiment.train(config, folder, progress=False)
  scores = experiment.RunFolder(folder).read_json("summary.json")["metrics"]
  assert f"test/{metric}" in scores
  if task in ("language_model", "masked_language_model"):
    return
  text = "one two\tthree" if "glue" in name else "one two"
  [row] = experiment.predict(folder, [], texts=[text])
  assert "error" not in row

"""Runs on texts: vocabulary, lengths, predictions of strings, own texts."""

import json
import logging
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import data, experiment
from dlcore.data.text.tokenizer_training import train_tokenizer
from dlcore.errors import UserError
from dlcore.experiment import prediction
from dlcore.experiment.vocabulary import limit_length
from dlcore.transfer.io import hub

ROOT = Path(__file__).parents[2]
WORDS = {"good": ("great", "nice", "fine"), "bad": ("awful", "poor", "dull")}
MODEL = {"name": "lstm", "width": 8}


def write_table(path, count=80):
  rng = random.Random(0)
  lines = ["text,answer,label,number,a,b\n"]
  for i in range(count):
    label = ("good", "bad")[i % 2]
    words = rng.choices(WORDS[label], k=2) + ["the"] * (i % 11)
    lines.append(
      f"{' '.join(words)},so it is,{label},{rng.gauss(0, 1):.3f},"
      f"{i % 2},{int(i % 3 == 0)}\n"
    )
  path.write_text("".join(lines))
  return path


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("DLCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


@pytest.fixture(scope="module")
def table(tmp_path_factory):
  return write_table(tmp_path_factory.mktemp("texts") / "own.csv")


def complete(table, model=MODEL, steps=2, settings=None, **sections):
  return experiment.complete(
    {
      "data": {
        "name": "text_csv",
        "path": str(table),
        "text": "text",
        "target": "label",
        "batch_size": 8,
        "sampling": "bucketed",
        **(settings or {}),
      },
      "model": model,
      "training": {"steps": steps},
      "sharding": {"devices": 1},
      **sections,
    }
  )


class Messages(logging.Handler):
  """Keeps all messages of a logger."""

  def __init__(self):
    super().__init__()
    self.texts = []

  def emit(self, record):
    self.texts.append(record.getMessage())


@pytest.fixture(scope="module")
def trained(table, tmp_path_factory):
  """The folder of a run, its config and the messages of training."""
  folder = tmp_path_factory.mktemp("runs") / "run"
  config = complete(
    table, steps=60, optim={"name": "adam", "learning_rate": 0.03}
  )
  logger, messages = logging.getLogger("dlcore"), Messages()
  level = logger.level
  logger.addHandler(messages)
  logger.setLevel(logging.INFO)
  experiment.train(config, folder, progress=False)
  logger.removeHandler(messages)
  logger.setLevel(level)
  return folder, config, messages.texts


@pytest.fixture(scope="module")
def run(trained):
  return trained[0]


def test_a_run_learns_and_predicts_strings_files_and_columns(
  run, table, tmp_path, shell
):
  texts = ["great and fine", "", "dull and awful"]
  answer = shell(
    "predict", f"--workdir={run}", *(f"--text={text}" for text in texts)
  )
  assert answer.code == 2  # One of them is empty.
  rows = [json.loads(line) for line in answer.out.splitlines()]
  assert [row["input"] for row in rows] == texts
  assert [row.get("label") for row in rows] == ["good", None, "bad"]
  assert rows[1]["error"] == "an empty text"
  assert experiment.load(run).predict_texts(texts) == rows
  (tmp_path / "a.txt").write_text("great\r\nand fine")
  mixed = list(
    experiment.predict(run, [str(tmp_path / "a.txt")], texts=texts[2:])
  )
  assert [row["label"] for row in mixed] == ["good", "bad"]
  assert mixed[0]["probability"] == pytest.approx(rows[0]["probability"])
  rows = list(experiment.predict(run, [str(table)]))
  labels = [line.split(",")[2] for line in table.read_text().split("\n")[1:-1]]
  pairs = zip(rows, labels, strict=True)
  right = [row["label"] == label for row, label in pairs]
  assert np.mean(right) > 0.9
  answer = shell(
    "predict", f"--workdir={run}", "--text=a", f"--output={tmp_path / 'o.csv'}"
  )
  assert (answer.code, len(answer.err)) == (2, 3)


def test_the_vocabulary_of_the_data_is_that_of_the_model(table):
  parts = experiment.build(complete(table))
  schema = parts.splits.train.info.schema
  assert parts.model.vocab_size == schema.vocab_size > 8
  with pytest.raises(UserError, match="vocab_size"):
    complete(table, {**MODEL, "vocab_size": 99})


@pytest.mark.parametrize("more", [0, 7])
def test_a_run_of_an_older_version_keeps_the_vocabulary_of_its_config(
  run, tmp_path, more
):
  old = shutil.copytree(run, tmp_path / "old")
  (old / "sha256.json").unlink()
  size = experiment.load(run).info.schema.vocab_size
  content = json.loads((old / "config.json").read_text())
  content["model"]["vocab_size"] = size + more
  (old / "config.json").write_text(json.dumps(content))
  if not more:
    assert experiment.load(old).info.schema.vocab_size == size
    return
  # Its parameters are not those of such a model.
  with pytest.raises(UserError, match="word_embedding"):
    experiment.load(old)


def test_batches_of_few_lengths_are_reported_once(trained):
  _, config, messages = trained
  [line] = [text for text in messages if "of padding" in text]
  order = data.bucketed(data.load(**_loaded(config)).train.lengths, 8)
  assert line == order.describe()
  assert len(order.shapes) > 1


def _loaded(config):
  own = ("name", "path", "text", "target")
  return {name: config["data"][name] for name in own}


def test_the_share_of_padding_is_that_of_the_batches(table):
  lengths = np.random.default_rng(0).integers(1, 60, 640)
  order = data.bucketed(lengths, 8)
  cells = tokens = 0
  for index in range(640 // 8 * 20):
    rows = order(0, index)
    cells += 8 * rows.length
    tokens += lengths[rows.index].sum()
  share = float(order.describe().split("have ")[1].split("%")[0]) / 100
  assert share == pytest.approx(1 - tokens / cells, abs=0.011)
  before = 1 - lengths.mean() / order.shapes[-1]
  assert f"in place of {before:.0%}" in order.describe()


@pytest.mark.parametrize(
  ("change", "match"),
  [
    (
      {"data": {"name": "digits", "sampling": "bucketed"}},
      "have no lengths",
    ),
    (
      {"model": {"name": "bert_base", "width": 8, "num_heads": 2, "depth": 1,
                 "max_length": 8}},
      "at most 8 tokens, the max_length of the model",
    ),
    ({"task": {"name": "regression"}}, "which has 2 classes"),
  ],
  ids=["no lengths", "too long", "another task"],
)  # fmt: skip
def test_parts_that_do_not_fit_are_three_lines(table, tmp_path, change, match):
  sections = complete(table)
  if "data" in change:
    sections = experiment.complete(change)
  elif "model" in change:
    sections = complete(table, change["model"])
  else:
    sections = complete(table, **change)
  with pytest.raises(UserError, match=match) as error:
    experiment.train(sections, tmp_path / "run", progress=False)
  assert len(error.value.lines) <= 3


def test_texts_longer_than_those_of_training_count_to_their_ends(run):
  predictor = experiment.load(run)
  [length] = predictor.info.inputs["input_ids"][0]
  texts = [f"{'the ' * 2 * length}{word}" for word in ("great", "awful")]
  long, other, short = predictor.predict_texts([*texts, "great"])
  assert long["probabilities"] != other["probabilities"]
  [alone] = predictor.predict_texts(["great"])
  assert short["probability"] == pytest.approx(alone["probability"])


def test_new_texts_are_no_longer_than_a_model_takes(table):
  settings = {"path": str(table), "text": "text", "target": "label"}
  info = data.load("text_csv", **settings).train.info

  def limit(model, init=None):
    return limit_length(info, model, init).schema.limit

  def by_length(key, batch):
    del key
    return {"kernel": batch["input_ids"][0]}, {}

  def by_token(key, batch):
    del key, batch
    return {"kernel": jnp.zeros(3)}, {}

  assert (info.schema.max_length, info.schema.limit) == (16, 512)
  assert limit(SimpleNamespace(max_length=58)) == 58
  assert limit(SimpleNamespace(max_length=1024)) == 512
  assert limit(SimpleNamespace(), by_token) == 512
  assert limit(SimpleNamespace(), by_length) == 16


def test_a_tokenizer_may_have_a_name_on_the_hub(table, tmp_path, monkeypatch):
  pytest.importorskip("tokenizers")
  tokenizer = train_tokenizer(["great nice fine the"], vocab_size=270)
  folder = tmp_path / "models--org--name" / "snapshots" / "1"
  blob = tmp_path / "models--org--name" / "blobs" / "2"
  for path in (folder, blob.parent):
    path.mkdir(parents=True)
  blob.write_bytes(tokenizer.to_file())
  (folder / "tokenizer.json").symlink_to("../../blobs/2")
  monkeypatch.setattr(hub, "download", lambda name, _: folder)
  parts = experiment.build(
    complete(table, settings={"tokenizer": "hf:org/name"})
  )
  assert parts.splits.train.info.schema.tokenizer == tokenizer
  (folder / "tokenizer.json").unlink()
  (folder / "tokenizer.json").symlink_to(table)
  with pytest.raises(UserError, match="a tokenizer in the plain file"):
    experiment.build(complete(table, settings={"tokenizer": "hf:org/name"}))


def test_texts_are_refused_by_a_run_on_other_data():
  info = data.load("breast_cancer").train.info
  with pytest.raises(UserError, match="trained on texts") as error:
    list(prediction.predict_texts(list, info, ["hello"], 1))
  assert len(error.value.lines) == 3


def test_weights_with_another_tokenizer_are_refused(run, table, tmp_path):
  init = {"source": str(run)}
  with pytest.raises(UserError, match="tokenizer of the weights") as error:
    experiment.build(
      complete(table, settings={"tokenizer": "characters"}, init=init)
    )
  assert len(error.value.lines) == 3
  parts = experiment.build(complete(table, init=init))
  assert parts.model.vocab_size == experiment.load(run).info.schema.vocab_size


def test_the_vocabulary_follows_the_weights(table, tmp_path):
  weights = tmp_path / "weights"
  weights.mkdir()
  size = experiment.build(complete(table)).model.vocab_size
  (weights / "config.json").write_text(json.dumps({"vocab_size": size + 5}))
  write_no_weights(weights)
  init = {"source": str(weights)}
  assert experiment.build(complete(table, init=init)).model.vocab_size == (
    size + 5
  )
  (weights / "config.json").write_text(json.dumps({"vocab_size": size - 1}))
  with pytest.raises(UserError, match="token ids, those of the weights"):
    experiment.build(complete(table, init=init))


def write_no_weights(folder):
  """Writes a file of safetensors without arrays."""
  (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


@pytest.mark.slow
@pytest.mark.parametrize(
  ("settings", "task", "fields"),
  [
    ({"pair": "answer"}, "classification", ("label", "probability")),
    ({"target": "number"}, "regression", ("prediction",)),
    ({"target": "", "targets": ("a", "b")}, "multilabel", ("labels",)),
    ({"tokenizer": "bytes"}, "classification", ("label",)),
    ({"in_memory_limit": 10}, "classification", ("label",)),
  ],
  ids=str,
)
def test_texts_pairs_labels_and_numbers_train_and_predict(
  table, tmp_path, settings, task, fields
):
  config = complete(table, settings=settings, task={"name": task})
  experiment.train(config, tmp_path / "run", progress=False)
  text = "great\tso it is" if "pair" in settings else "great"
  [row] = experiment.load(tmp_path / "run").predict_texts([text])
  assert set(fields) <= row.keys(), row


@pytest.mark.slow
def test_a_tokenizer_is_trained_once_and_kept_in_the_run(
  table, tmp_path, shell
):
  pytest.importorskip("tokenizers")
  answer = shell(
    "train_tokenizer",
    f"--input={table}",
    "--column=text",
    "--kind=wordpiece",
    "--vocab_size=60",
    "--output=own.json",
  )
  assert answer.code == 0, answer.err
  size = int(answer.out.split(" token ids in own.json")[0])
  path = tmp_path / "own.json"
  config = complete(table, settings={"tokenizer": str(path)})
  parts = experiment.build(config)
  assert parts.model.vocab_size == size <= 60
  experiment.train(config, tmp_path / "run", progress=False)
  path.unlink()
  [row] = experiment.load(tmp_path / "run").predict_texts(["great"])
  assert row["label"] in WORDS


@pytest.mark.parametrize(
  ("arguments", "match"),
  [
    ((), "--input"),
    (("--input=own.csv",), "--output"),
    (("--input=own.csv", "--output=own.csv"), "FILE.json"),
    (("--input=none.txt", "--output=o.json"), "none.txt"),
    (("--input=own.csv", "--output=o.json"), "a column of texts"),
    (("--input=own.csv", "--output=o.json", "--kind=bpx"), "bpx"),
    (("--input=own.csv", "--output=o.json", "--vocab_size=2"), "vocab_size"),
    (("--input=own.csv", "--output=no/o.json"), "a folder that exists"),
    (
      ("--input=own.csv", "--output=o.json", "--vocab_size=99999999999"),
      "at most",
    ),
  ],
  ids=str,
)
def test_mistakes_of_train_tokenizer_are_three_lines(
  arguments, match, tmp_path, shell
):
  pytest.importorskip("tokenizers")
  write_table(tmp_path / "own.csv")
  answer = shell("train_tokenizer", *arguments)
  assert answer.code == 2
  assert match in "\n".join(answer.err)
  assert len(answer.err) <= 3


@pytest.mark.slow
def test_a_model_without_token_types_takes_pairs(table, tmp_path):
  model = {"name": "distilbert", "width": 32, "num_heads": 2, "depth": 1}
  # The output of random weights hardly depends on the input.
  optim = {"name": "adam", "learning_rate": 0.003}
  config = complete(table, model, 60, {"pair": "answer"}, optim=optim)
  experiment.train(config, tmp_path / "run", progress=False)
  predict = experiment.load(tmp_path / "run").predict_texts
  one, other = predict([("great", "so it is"), ("great so", "it is")])
  assert abs(one["probability"] - other["probability"]) > 1e-6
  assert experiment.evaluate(tmp_path / "run")["accuracy"] > 0.9


@pytest.mark.slow
def test_own_texts_are_one_command(tmp_path, shell):
  table = write_table(tmp_path / "own.csv", 200)
  answer = shell(
    "train",
    f"--config={ROOT / 'configs' / 'text.py'}",
    f"--workdir={tmp_path / 'run'}",
    f"--config.data.path={table}",
    "--config.data.text=text",
    "--config.data.target=number",
    "--config.training.epochs=1.5",
  )
  assert answer.code == 0, answer.err
  config = json.loads((tmp_path / "run" / "config.json").read_text())
  assert config["task"]["name"] == "regression"
  assert experiment.evaluate(tmp_path / "run")["rmse"] > 0

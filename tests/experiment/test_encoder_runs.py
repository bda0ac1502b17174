"""Runs that train an encoder of texts, and classifiers of few texts."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import tokenizers

import dlcore
from dlcore import experiment, models, storage, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer.io import safetensors

pytestmark = pytest.mark.slow

ROOT = experiment.__file__.rsplit("/dlcore/", 1)[0]
WORDS = ["red", "green", "blue", "small", "large", "warm", "cold", "old"]


def write_source(folder, poolings, *, normalize=True, lowercase=False):
  """Writes a small BERT as sentence-transformers does, and its tokenizer."""
  model = models.create(
    "bert_base",
    head="embedding",
    poolings=poolings,
    normalize=normalize,
    vocab_size=16,
    width=8,
    depth=2,
    num_heads=2,
    mlp_dim=16,
    max_length=16,
  )
  ids = np.zeros((1, 4), np.int32)
  variables = jax.jit(lambda: model.init(jax.random.key(0), ids, train=False))()
  special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
  vocabulary = {token: i for i, token in enumerate([*special, *WORDS])}
  inner = tokenizers.Tokenizer(
    tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
  )
  inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  inner.post_processor = tokenizers.processors.BertProcessing(
    ("[SEP]", 3), ("[CLS]", 2)
  )
  inner.add_special_tokens(special)
  tokenizer = dlcore.data.LibraryTokenizer.of(inner)
  transfer.save_sentence_encoder(
    folder, model, variables, tokenizer, max_length=12
  )
  if lowercase:
    content = {"max_seq_length": 12, "do_lower_case": True}
    (folder / "sentence_bert_config.json").write_text(json.dumps(content))
  return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return write_source(tmp_path_factory.mktemp("weights") / "bert", ("mean",))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
  random = np.random.default_rng(0)
  rows = ["question,answer,likeness"]
  for i in range(48):
    words = random.choice(WORDS, 4)
    rows.append(f"{' '.join(words)},{' '.join(words[::-1])},{i % 6}")
  path = tmp_path_factory.mktemp("data") / "pairs.csv"
  path.write_text("\n".join(rows) + "\n")
  return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
  """Eight texts of each of two classes."""
  random = np.random.default_rng(0)
  rows = ["text,topic"]
  for i in range(16):
    words = random.choice(WORDS[:5] if i % 2 else WORDS[3:], 4)
    rows.append(f"{' '.join(words)},{'ab'[i % 2]}")
  path = tmp_path_factory.mktemp("data") / "texts.csv"
  path.write_text("\n".join(rows) + "\n")
  return path


def read(name, **overrides):
  file = f"{ROOT}/configs/{name}.py"
  settings = {"sharding.devices": "1", **overrides}
  return experiment.read_config(file, settings, near=None)[0]


def of_pairs(source, pairs, **overrides):
  settings = {
    "init.source": str(source),
    "data.path": str(pairs),
    "data.first": "question",
    "data.second": "answer",
    "training.steps": "4",
    **overrides,
  }
  return read("transfer_pairs", **settings)


def of_texts(source, texts, **overrides):
  settings = {
    "init.source": str(source),
    "init.strategy": "setfit",
    "data.train": str(texts),
    "data.valid": str(texts),
    "data.test": str(texts),
    "data.text": "text",
    "data.target": "topic",
    "training.steps": "8",
    **overrides,
  }
  return read("transfer_text", **settings)


@pytest.fixture(scope="module")
def trained(source, pairs, tmp_path_factory):
  folder = tmp_path_factory.mktemp("runs") / "pairs"
  summary = experiment.train(of_pairs(source, pairs), folder, progress=False)
  return folder, summary


def features(texts, **arguments):
  return experiment.load_extractor(**arguments).text_features(texts).values


def test_model_and_data_follow_the_folder(source, pairs):
  config = of_pairs(source, pairs)
  model = config["model"]
  assert (model["head"], list(model["poolings"])) == ("embedding", ["mean"])
  assert model["normalize"]
  assert config["data"]["max_length"] == 12
  assert config["data"]["tokenizer"] == str(source)


def test_the_exported_folder_has_the_embeddings_of_the_run(
  source, trained, tmp_path
):
  folder, summary = trained
  assert {"test/loss", "test/recall_at_1", "test/mrr"} < set(summary["metrics"])
  line = experiment.export(folder, "safetensors", tmp_path / "encoder")
  assert "sentence-transformers" in line
  texts = ["red green", "cold old large small warm"]
  of_run = features(texts, workdir=folder)
  exported = features(texts, source=tmp_path / "encoder")
  np.testing.assert_allclose(of_run, exported, atol=1e-6)
  np.testing.assert_allclose(np.linalg.norm(of_run, axis=1), 1, rtol=1e-5)
  before = features(texts, source=source)
  assert np.abs(before - of_run).max() > 1e-5
  modules = json.loads((tmp_path / "encoder/modules.json").read_text())
  kinds = [module["type"].rpartition(".")[2] for module in modules]
  assert kinds == ["Transformer", "Pooling", "Normalize"]
  length = json.loads(
    (tmp_path / "encoder/sentence_bert_config.json").read_text()
  )
  assert length == {"max_seq_length": 12, "do_lower_case": False}


def test_a_prediction_is_the_embedding(trained):
  predictor = dlcore.load(trained[0])
  [row] = predictor.predict_texts(["red green"])
  expected = predictor.text_features(["red green"]).values[0]
  np.testing.assert_allclose(row["embedding"], expected, atol=1e-6)


def test_an_encoder_begins_with_another_run(trained, pairs):
  config = of_pairs(trained[0], pairs)
  assert list(config["model"]["poolings"]) == ["mean"]
  assert config["model"]["normalize"]
  experiment.build(config)


@pytest.mark.slow
def test_scores_are_learned(source, pairs, tmp_path):
  config = of_pairs(
    source,
    pairs,
    **{"data.score": "likeness", "data.largest_score": "5.0"},
  )
  summary = experiment.train(config, tmp_path / "run", progress=False)
  assert {"test/loss", "test/spearman"} < set(summary["metrics"])


def test_other_sources_have_clear_errors(source, pairs, tmp_path):
  bare = write_source(tmp_path / "bare", ("mean",))
  (bare / "tokenizer.json").unlink()
  with pytest.raises(UserError, match=r"tokenizer") as error:
    experiment.build(of_pairs(bare, pairs))
  assert len(error.value.lines) <= 3
  lower = write_source(tmp_path / "lower", ("mean",), lowercase=True)
  with pytest.raises(UserError, match="Lowercase normalizer"):
    of_pairs(lower, pairs)
  with pytest.raises(UserError, match="did you mean 'question'"):
    experiment.build(of_pairs(source, pairs, **{"data.first": "qestion"}))
  gpt2 = models.create(
    "gpt2", head="lm", vocab_size=16, width=8, depth=1, num_heads=2
  )
  ids = np.zeros((1, 4), np.int32)
  values = jax.jit(lambda: gpt2.init(jax.random.key(0), ids, train=False))()
  transfer.save_pretrained(tmp_path / "gpt2", gpt2, values)
  with pytest.raises(UserError, match="BERT or DistilBERT"):
    of_pairs(tmp_path / "gpt2", pairs)


def test_a_batch_of_one_pair_is_refused(source, pairs, tmp_path):
  config = of_pairs(source, pairs, **{"data.batch_size": "1"})
  with pytest.raises(UserError, match="at least two pairs") as error:
    experiment.train(config, tmp_path / "run", progress=False)
  assert len(error.value.lines) == 3


def test_few_texts_have_batches_of_pairs_of_their_classes(source, texts):
  config = of_texts(source, texts)
  assert config["data"]["batch_size"] == 16
  assert list(config["model"]["poolings"]) == ["mean"]
  parts = experiment.build(config)
  [first] = parts.earlier
  order = first.settings_of(dlcore.training.fit)["order"]
  labels = parts.splits.train.arrays["label"]
  rows = labels[order(0, 0).index].reshape(-1, 2)
  np.testing.assert_array_equal(rows[:, 0], rows[:, 1])
  assert (first.steps, parts.steps) == (4, 4)


def leaves(folder):
  checkpoints = folder / "checkpoints"
  newest = storage.best_step(checkpoints)
  return trees.flatten(storage.read_variables(checkpoints, newest))


def test_a_few_shot_run_learns_resumes_and_predicts(source, texts, tmp_path):
  config = of_texts(source, texts)
  straight, stopped = tmp_path / "straight", tmp_path / "stopped"
  summary = experiment.train(config, straight, progress=False)
  assert 0 <= summary["metrics"]["test/accuracy"] <= 1
  # Half of the first phase, as after a signal.
  parts = experiment.build(config)
  folder = experiment.RunFolder(stopped)
  stopped.mkdir()
  folder.claim(config)
  folder.describe(parts.sources())
  first = dataclasses.replace(parts.earlier[0], steps=2)
  first.fit(folder.phases / "0", assets=stopped, progress=False)
  experiment.train(config, stopped, progress=False)
  # Without a trained head there is nothing to evaluate.
  assert "valid" not in (straight / "phases/0/metrics.jsonl").read_text()
  assert "valid" in (straight / "metrics.jsonl").read_text()
  one, other = leaves(straight), leaves(stopped)
  assert one.keys() == other.keys()
  for path, leaf in one.items():
    np.testing.assert_array_equal(leaf, other[path], err_msg=path)
  [row] = dlcore.load(straight).predict_texts(["red green"])
  assert set(row["probabilities"]) == {"a", "b"}
  values = dlcore.load(straight).text_features(["red green"]).values
  assert np.linalg.norm(values) == pytest.approx(1, rel=1e-5)
  assert np.abs(values - features(["red green"], source=source)).max() > 1e-4
  assert (straight / "report.html").exists()
  experiment.export(straight, "safetensors", tmp_path / "own")
  _, exported = transfer.from_pretrained(tmp_path / "own")
  head = dlcore.load(straight).variables["params"]["head"]
  np.testing.assert_array_equal(
    exported["params"]["head"]["kernel"], head["kernel"]
  )
  # The features of sentence-transformers, and a module of the logits.
  folder = tmp_path / "modules"
  experiment.export(
    straight, "safetensors", folder, family="sentence-transformers"
  )
  modules = json.loads((folder / "modules.json").read_text())
  assert [module["path"] for module in modules] == [
    "",
    "1_Pooling",
    "2_Normalize",
    "3_Dense",
  ]
  dense = dict(safetensors.File(folder / "3_Dense" / "model.safetensors"))
  np.testing.assert_array_equal(dense["linear.weight"].T, head["kernel"])
  np.testing.assert_array_equal(dense["linear.bias"], head["bias"])
  (folder / "modules.json").write_text(json.dumps(modules[:3]))
  np.testing.assert_allclose(
    features(["red green"], source=folder), values, atol=1e-6
  )


def test_other_models_are_not_those_of_sentence_transformers(tmp_path, tiny):
  experiment.train(tiny(), tmp_path / "run", progress=False)
  with pytest.raises(UserError, match="a BERT with poolings"):
    experiment.export(
      tmp_path / "run",
      "safetensors",
      tmp_path / "out",
      family="sentence-transformers",
    )


def test_data_without_two_texts_of_a_class_is_refused(source, tmp_path):
  path = tmp_path / "texts.csv"
  path.write_text("text,topic\nred,a\ngreen,b\nblue,c\nold,d\n")
  with pytest.raises(UserError, match="two examples of a class") as error:
    experiment.build(of_texts(source, path))
  assert len(error.value.lines) == 3
  path.write_text("text,topic\n" + "red old,a\ncold,a\n" * 4)
  with pytest.raises(UserError, match=r"at least two|two classes"):
    experiment.build(of_texts(source, path))
  path.write_text("text,topic\n" + "red old,0.25\ncold,1.5\nwarm,2.5\n" * 4)
  with pytest.raises(UserError, match="one class for every example"):
    experiment.train(of_texts(source, path), tmp_path / "run", progress=False)


def test_settings_of_the_strategy_are_checked():
  for settings, match in (
    ({"share": 1.0}, "share"),
    ({"rate": 0.0}, "rate"),
    ({"temperature": 0.0}, "temperature"),
  ):
    with pytest.raises(UserError, match=match):
      transfer.STRATEGIES["setfit"](**settings)

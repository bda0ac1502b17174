"""Exported runs have the inputs and the outputs of the run."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from small_vit import FIELDS

from dlcore import data, experiment, models, tasks, transfer
from dlcore.data.text.tokenizer_training import train_tokenizer
from dlcore.errors import UserError
from dlcore.experiment import model_card, source_settings
from dlcore.experiment.card_facts import read_facts
from dlcore.experiment.restoring import restore_run
from dlcore.transfer import image_preprocessing
from dlcore.transfer.image_preprocessing import ImagePreprocessing
from dlcore.transfer.io import safetensors
from dlcore.transfer.target_units import TargetUnits

ROOT = experiment.__file__.rsplit("/dlcore/", 1)[0]
VIT = {"name": "vit_tiny", **FIELDS}
BERT = {"name": "bert_base", "mlp_dim": 16}
SMALL = {"width": 8, "depth": 1, "num_heads": 2, "max_length": 16}
WORDS = ["red", "green", "blue", "small", "large", "warm", "cold", "old"]


def train(folder, data_settings, model, task="classification", **sections):
  config = experiment.complete(
    {
      "data": {"batch_size": 8, **data_settings},
      "model": model,
      "task": {"name": task},
      "training": {"steps": 2},
      "optim": {"schedule": {"name": "constant"}},
      "sharding": {"devices": 1},
      **sections,
    }
  )
  experiment.train(config, folder, progress=False)
  return folder


def read_json(path):
  return json.loads(path.read_text())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
  """Dark and bright images of two classes, 8 x 8."""
  folder = tmp_path_factory.mktemp("data") / "pictures"
  generator = np.random.default_rng(0)
  for label, name in enumerate(("cat", "dog")):
    (folder / name).mkdir(parents=True)
    for i in range(12):
      noise = generator.integers(0, 60, (8, 8, 3))
      noise += np.array([90 * label, 40, 100])
      Image.fromarray(noise.astype(np.uint8)).save(folder / name / f"{i}.png")
  return folder


@pytest.fixture(scope="module")
def images(pictures, tmp_path_factory):
  """An image of the size of those of training, and one of twice that."""
  folder = tmp_path_factory.mktemp("new")
  pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
  Image.fromarray(pixels).save(folder / "large.png")
  return [pictures / "cat" / "0.png", folder / "large.png"]


FAMILIES = {
  "vit": {**VIT, "eps": 1e-12},
  "timm/vit": {**VIT, "eps": 1e-6},
  "dlcore": {
    "name": "cnn",
    "stages": ((4,),),
    "dense": (8,),
    "batch_norm": False,
  },
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_image_model_has_the_preprocessing_of_the_run(
  family, pictures, images, tmp_path
):
  source = {
    "name": "image_folder",
    "path": str(pictures),
    "image_size": 8,
    "channels": 3,
    "interpolation": "bicubic",
  }
  run = train(tmp_path / "run", source, FAMILIES[family])
  out = tmp_path / "out"
  experiment.export(run, "safetensors", out, family=family)
  assert (out / "preprocessor_config.json").exists() == (family == "vit")
  overrides = {
    "init.source": str(out),
    "init.strategy": "full",
    "init.head": "published",
    "data.path": str(pictures),
    "optim.learning_rate": "0",
    "training.steps": "1",
    "sharding.devices": "1",
  }
  config = experiment.read_config(
    f"{ROOT}/configs/transfer_images.py", overrides, near=None
  )[0]
  names = ("image_size", "channels", "interpolation")
  assert [config["data"][name] for name in names] == [8, 3, "bicubic"]
  experiment.train(config, tmp_path / "again", progress=False)
  first, again = (experiment.load(tmp_path / n) for n in ("run", "again"))
  schema = first.info.schema
  assert again.info.schema.normalization == schema.normalization
  assert schema.normalization["std"] != schema.normalization["mean"]
  for one, other in zip(
    first.predict(images), again.predict(images), strict=True
  ):
    assert one["probabilities"] == pytest.approx(
      other["probabilities"], abs=1e-6
    )
  of_run = experiment.load_extractor(workdir=run).file_features(images)
  exported = experiment.load_extractor(source=out).file_features(images)
  np.testing.assert_allclose(of_run.values, exported.values, atol=1e-5)


def write_texts(path, columns, target, count=40):
  generator = np.random.default_rng(0)
  rows = [",".join([*columns, "answer"])]
  for i in range(count):
    texts = [" ".join(generator.choice(WORDS, 3)) for _ in columns]
    rows.append(",".join([*texts, str(target(i))]))
  path.write_text("\n".join(rows) + "\n")
  return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
  """The path of a trained WordPiece tokenizer."""
  path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
  made = train_tokenizer([" ".join(WORDS)] * 9, kind="wordpiece")
  made.inner.save(str(path))
  return path


def of_texts(path, tokenizer, columns=("text",), **settings):
  names = dict(zip(("text", "pair"), columns, strict=False))
  fixed = {"name": "text_csv", "path": str(path), "target": "answer"}
  fixed |= {"tokenizer": str(tokenizer), "max_length": 16}
  return {**fixed, **names, **settings}


@pytest.mark.parametrize(
  ("model", "expected"),
  [
    ({**BERT, **SMALL}, True),
    ({**BERT, **SMALL, "num_token_types": 0}, False),
    ({"name": "gpt2", **SMALL}, False),
    ({"name": "llama3_8b", **SMALL}, False),
  ],
)
def test_token_types_are_inputs_of_models_that_have_them(
  model, expected, tokenizer, tmp_path
):
  name, *_ = model.values()
  fields = {key: value for key, value in model.items() if key != "name"}
  made = models.create(name, num_classes=2, vocab_size=32, **fields)
  types = transfer.tokenizer_export.takes_token_types(made)
  assert types == expected
  library = data.LibraryTokenizer.parse(tokenizer.read_bytes())
  transfer.save_tokenizer(tmp_path, library, 16, token_types=types)
  names = read_json(tmp_path / "tokenizer_config.json")["model_input_names"]
  assert set(names) == {
    "input_ids", "attention_mask", *["token_type_ids"] * expected
  }  # fmt: skip


@pytest.mark.slow
def test_an_exported_classifier_of_pairs_takes_token_types(tokenizer, tmp_path):
  columns = ("one", "two")
  table = write_texts(tmp_path / "pairs.csv", columns, lambda i: "ab"[i % 2])
  source = of_texts(table, tokenizer, columns)
  run = train(tmp_path / "run", source, {**BERT, **SMALL})
  experiment.export(run, "safetensors", tmp_path / "out")
  settings = read_json(tmp_path / "out" / "tokenizer_config.json")
  assert "token_type_ids" in settings["model_input_names"]
  config = read_json(tmp_path / "out" / "config.json")
  assert config["problem_type"] == "single_label_classification"
  # The types of tokenizer.json are those of the run.
  inner = data.LibraryTokenizer.parse(
    (tmp_path / "out" / "tokenizer.json").read_bytes()
  ).inner
  encoded = inner.encode("red green", "blue")
  schema = experiment.load(run).info.schema
  [batch] = schema.read_texts([("red green", "blue")], 1)
  size = len(encoded.ids)
  own = {name: array[0, :size] for name, array in batch.arrays.items()}
  np.testing.assert_array_equal(own["input_ids"], encoded.ids)
  np.testing.assert_array_equal(own["token_type_ids"], encoded.type_ids)


UNITS = TargetUnits(1000.0, 50.0)


def regressor():
  """Returns a small ViT with one output, and its variables."""
  fields = {key: x for key, x in VIT.items() if key != "name"}
  model = models.create("vit_tiny", num_classes=1, image_size=8, **fields)
  image = np.zeros((1, 8, 8, 3), np.float32)
  return model, model.init(jax.random.key(0), image, train=False)


def test_the_output_layer_contains_the_normalization_of_the_target(tmp_path):
  model, variables = regressor()
  out = tmp_path / "out"
  entry = {"target_normalization": UNITS._asdict()}
  transfer.save_pretrained(out, model, variables, config=entry)
  head = variables["params"]["head"]
  weight, bias = raw_head(out)
  np.testing.assert_allclose(weight.T, 50 * head["kernel"], rtol=1e-6)
  np.testing.assert_allclose(bias, 50 * head["bias"] + 1000, rtol=1e-6)
  loaded, again = transfer.from_pretrained(out)
  for name, array in head.items():
    np.testing.assert_allclose(
      again["params"]["head"][name], array, rtol=1e-5, atol=1e-6
    )
  # The entry is kept with the weights, unless they get another head.
  transfer.save_pretrained(tmp_path / "again", loaded, again)
  np.testing.assert_allclose(raw_head(tmp_path / "again")[1], bias, rtol=1e-6)
  other, three = transfer.from_pretrained(out, num_classes=3)
  published = transfer.read_published(out)
  transfer.save_pretrained(
    tmp_path / "three", other, three, published=published
  )
  assert "target_normalization" not in read_json(
    tmp_path / "three" / "config.json"
  )


@pytest.mark.parametrize(
  "entry", [3, {"mean": 1.0}, {"mean": "1", "std": 1}, {"mean": 0, "std": 0}]
)
def test_a_malformed_normalization_is_refused(entry, tmp_path):
  out = tmp_path / "out"
  transfer.save_pretrained(out, *regressor())
  config = read_json(out / "config.json")
  content = json.dumps({**config, "target_normalization": entry})
  (out / "config.json").write_text(content)
  with pytest.raises(UserError, match="a mean and an std above 0"):
    transfer.from_pretrained(out)


@pytest.mark.parametrize("size", [(8, 8), (8, 12)])
@pytest.mark.parametrize("channels", [1, 3])
def test_preprocessing_is_read_as_it_was_written(size, channels, tmp_path):
  values = np.linspace(0.2, 0.6, channels).tolist()
  written = ImagePreprocessing(
    size, interpolation="bicubic", mean=values, std=values, resize="crop"
  )
  content = image_preprocessing.to_transformers(written, channels)
  (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
  timm = {"pretrained_cfg": image_preprocessing.to_timm(written, channels)}
  expected = written._replace(
    resize="",
    shorter_side=8 if size == (8, 8) else 0,
    mean=tuple(values),
    std=tuple(values),
  )
  result = image_preprocessing.read_preprocessing(tmp_path, {}, (1, 1))
  assert result == (expected, True)
  (tmp_path / "preprocessor_config.json").unlink()
  result = image_preprocessing.read_preprocessing(tmp_path, timm, (1, 1))
  assert result == (expected, True)


@pytest.fixture(scope="module")
def prices(tokenizer, tmp_path_factory):
  """A run of a regression, whose targets have a mean near 1000."""
  folder = tmp_path_factory.mktemp("prices")
  table = write_texts(folder / "texts.csv", ["text"], lambda i: 950 + 3 * i)
  source = of_texts(table, tokenizer)
  return train(folder / "run", source, {**BERT, **SMALL}, "regression")


def raw_head(folder):
  """Returns weight `[1, D]` and bias `[1]` as transformers reads them."""
  arrays = safetensors.File(folder / "model.safetensors")
  return np.array(arrays["classifier.weight"]), np.array(
    arrays["classifier.bias"]
  )


@pytest.mark.slow
def test_an_exported_regression_predicts_in_the_units_of_the_target(
  prices, tmp_path
):
  text = experiment.export(prices, "safetensors", tmp_path / "out")
  assert "The output is the target in its units." in text
  config = read_json(tmp_path / "out" / "config.json")
  assert config["problem_type"] == "regression"
  predictor = experiment.load(prices)
  scale = predictor.info.schema.target_normalization
  assert config["target_normalization"] == scale
  texts = ["red green blue", "old cold warm"]
  features = predictor.text_features(texts).values
  weight, bias = raw_head(tmp_path / "out")
  predicted = [row["prediction"] for row in predictor.predict_texts(texts)]
  assert 900 < predicted[0] < 1100
  np.testing.assert_allclose(features @ weight[0] + bias, predicted, rtol=1e-6)
  # Here the model still predicts the normalized target.
  _, variables = transfer.from_pretrained(tmp_path / "out")
  own = predictor.variables["params"]["head"]
  for name, array in own.items():
    np.testing.assert_allclose(
      variables["params"]["head"][name], array, rtol=1e-5, atol=1e-6
    )
  card = (tmp_path / "out" / "README.md").read_text()
  assert f"by {scale['std']!r}, and add {scale['mean']!r}" in card


@pytest.mark.slow
def test_the_task_of_the_weights_is_not_that_of_another_run(
  prices, tokenizer, tmp_path
):
  out = tmp_path / "out"
  experiment.export(prices, "safetensors", out)
  table = write_texts(tmp_path / "two.csv", ["text"], lambda i: "ab"[i % 2])
  source = of_texts(table, tokenizer)
  run = train(
    tmp_path / "run", source, {**BERT, **SMALL}, init={"source": str(out)}
  )
  experiment.export(run, "safetensors", tmp_path / "again")
  config = read_json(tmp_path / "again" / "config.json")
  assert config["problem_type"] == "single_label_classification"
  assert "target_normalization" not in config


@pytest.mark.slow
def test_several_labels_are_several_labels(tokenizer, tmp_path):
  table = tmp_path / "labels.csv"
  rows = [f"red {WORDS[i % 8]},{i % 2},{i % 3 == 0:d}" for i in range(40)]
  table.write_text("\n".join(["text,p,q", *rows]) + "\n")
  source = of_texts(table, tokenizer, target="", targets=("p", "q"))
  run = train(tmp_path / "run", source, {**BERT, **SMALL}, "multilabel")
  experiment.export(run, "safetensors", tmp_path / "out")
  config = read_json(tmp_path / "out" / "config.json")
  assert config["problem_type"] == "multi_label_classification"


@pytest.mark.slow
def test_a_head_without_a_bias_cannot_have_the_mean(tokenizer, tmp_path):
  table = write_texts(tmp_path / "texts.csv", ["text"], lambda i: 950 + 3 * i)
  source = of_texts(table, tokenizer)
  model = {"name": "gpt2", "head": "classifier", **SMALL}
  run = train(tmp_path / "run", source, model, "regression")
  with pytest.raises(UserError, match="output layer with a bias"):
    experiment.export(run, "safetensors", tmp_path / "out")
  assert not (tmp_path / "out").exists()
  experiment.export(run, "safetensors", tmp_path / "own", family="dlcore")
  schema = read_json(tmp_path / "own" / "config.json")["schema"]
  assert schema["target_normalization"]["mean"] > 900


def test_problem_types_are_those_of_transformers():
  types = {name: kind.problem_type for name, kind in tasks.TASKS.items()}
  assert {name: value for name, value in types.items() if value} == {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
  }


POOLINGS = ("mean", "cls", "max")


@pytest.mark.slow
def test_logits_are_those_of_joined_poolings(tokenizer, tmp_path):
  table = write_texts(tmp_path / "texts.csv", ["text"], lambda i: "ab"[i % 2])
  model = {**BERT, **SMALL, "poolings": POOLINGS, "normalize": True}
  run = train(tmp_path / "run", of_texts(table, tokenizer), model)
  out = tmp_path / "out"
  experiment.export(run, "safetensors", out, family="sentence-transformers")
  predictor = experiment.load(run)
  features = predictor.text_features(["red old cold"]).values
  mean, cls, most = np.split(features, 3, axis=1)
  dense = safetensors.File(out / "3_Dense" / "model.safetensors")
  # Sentence-transformers joins cls, max and mean in this order.
  joined = np.hstack([cls, most, mean])
  logits = joined @ np.array(dense["linear.weight"]).T
  logits += np.array(dense["linear.bias"])
  shares = np.exp(logits) / np.exp(logits).sum()
  [row] = predictor.predict_texts(["red old cold"])
  probabilities = list(row["probabilities"].values())
  np.testing.assert_allclose(shares[0], probabilities, atol=1e-6)
  # The code of the card in dlcore.
  extractor = experiment.load_extractor(source=out)
  values = extractor.text_features(["red old cold"]).values
  np.testing.assert_allclose(values, logits, atol=1e-5)
  # Runs begin with its tokens, but not with the logits as embeddings.
  settings = source_settings.text_settings(str(out), "classifier")
  assert settings["model.poolings"] == ("cls", "max", "mean")
  with pytest.raises(UserError, match="classifier with a Dense module"):
    source_settings.text_settings(str(out), "embedding")
  card = (out / "README.md").read_text()
  assert "logits = model.encode" in card
  assert f"experiment.load_extractor(source={out.name!r})" in card
  assert "from_pretrained" not in card


def test_embeddings_of_poolings_in_another_order_are_refused(
  tokenizer, tmp_path
):
  model = models.create(
    "bert_base",
    head="embedding",
    poolings=("mean", "cls"),
    vocab_size=64,
    mlp_dim=16,
    **SMALL,
  )
  library = data.LibraryTokenizer.parse(tokenizer.read_bytes())
  with pytest.raises(UserError, match=r"joins them, \('cls', 'mean'\)"):
    transfer.save_sentence_encoder(
      tmp_path / "out", model, {"params": {}}, library, max_length=16
    )
  assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_adapters_of_a_model_with_added_tokens_are_refused(tokenizer, tmp_path):
  library = data.LibraryTokenizer.parse(tokenizer.read_bytes())
  size = library.vocab_size
  base = models.create(
    "bert_base", head=None, vocab_size=size, mlp_dim=16, **SMALL
  )
  ids = np.zeros((1, 4), np.int32)
  variables = base.init(jax.random.key(0), ids, train=False)
  source = tmp_path / "source"
  transfer.save_pretrained(source, base, variables)
  transfer.save_tokenizer(source, library, 16)
  library.inner.add_tokens(["<new>"])
  library.inner.save(str(tmp_path / "added.json"))
  table = write_texts(tmp_path / "texts.csv", ["text"], lambda i: "ab"[i % 2])
  strategy = {"name": "lora", "pattern": "query/kernel$"}
  run = train(
    tmp_path / "run",
    of_texts(table, tmp_path / "added.json"),
    {**BERT, **SMALL},
    init={"source": str(source), "strategy": strategy},
  )
  with pytest.raises(UserError, match="new tokens begin with") as error:
    experiment.export(run, "peft", tmp_path / "out")
  assert len(error.value.lines) == 3
  assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_card_of_an_adapter_creates_the_head_of_a_regression(prices):
  run = restore_run(prices, None)
  init = {**run.config["init"], "source": "hf:org/name"}
  run = run._replace(config={**run.config, "init": init})
  card = model_card.card(read_facts(run, prices / "out", "peft"))
  assert "from_pretrained('hf:org/name', num_classes=1)" in card

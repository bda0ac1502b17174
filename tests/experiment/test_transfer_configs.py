"""Configs whose model and data settings are those of weights."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from dlcore import data, experiment, models, transfer
from dlcore.data.text.tokenizer_training import train_tokenizer
from dlcore.errors import UserError

ROOT = experiment.__file__.rsplit("/dlcore/", 1)[0]


def images(folder, shape=(16, 16, 3), count=8):
  """Writes a folder of images of two classes."""
  generator = np.random.default_rng(0)
  for label, name in enumerate(("cat", "dog")):
    (folder / name).mkdir(parents=True)
    for i in range(count):
      noise = generator.integers(0, 100, shape) + 100 * label
      picture = Image.fromarray(noise.astype(np.uint8).squeeze())
      picture.save(folder / name / f"{i}.png")
  return folder


def published(folder, name, inputs, **fields):
  """Writes a published folder of random weights, and returns it."""
  model = models.create(name, **fields)
  init = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))
  transfer.save_pretrained(folder, model, init(inputs))
  return folder


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
  folder = published(
    tmp_path_factory.mktemp("weights") / "vit",
    "vit_tiny",
    np.zeros((1, 16, 16, 3), np.float32),
    num_classes=7,
    patch_size=4,
    depth=3,
    width=8,
    num_heads=2,
    image_size=16,
  )
  content = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 16, "width": 16},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.5],
    "do_normalize": True,
    "resample": 3,
  }
  (folder / "preprocessor_config.json").write_text(json.dumps(content))
  return folder


def read(name, **overrides):
  file = f"{ROOT}/configs/{name}.py"
  return experiment.read_config(file, overrides, near=None)[0]


def test_model_and_images_are_those_of_the_weights(vit, tmp_path):
  own = images(tmp_path / "own", (20, 24, 3))
  config = read(
    "transfer_images", **{"init.source": str(vit), "data.path": str(own)}
  )
  model = config["model"]
  assert model["name"].startswith("vit")
  assert (model["width"], model["depth"], model["patch_size"]) == (8, 3, 4)
  assert (config["data"]["image_size"], config["data"]["channels"]) == (16, 3)
  assert config["data"]["interpolation"] == "bicubic"
  assert config["init"]["strategy"]["name"] == "fine_tune"
  parts = experiment.build({**config, "sharding": {"devices": 1}})
  assert parts.splits.train.info.schema.normalization == {
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.25, 0.5],
  }
  assert parts.model.num_classes == 2


def test_the_command_line_prevails(vit, tmp_path):
  own = images(tmp_path / "own")
  config = read(
    "transfer_images",
    **{
      "init.source": str(vit),
      "data.path": str(own),
      "data.image_size": "8",
      "init.strategy": "lora",
      "model.dropout": "0.25",
    },
  )
  assert config["data"]["image_size"] == 8
  assert config["init"]["strategy"]["name"] == "lora"
  assert config["model"]["dropout"] == 0.25


@pytest.mark.slow
@pytest.mark.parametrize("strategy", sorted(transfer.STRATEGIES))
def test_every_strategy_fine_tunes_images(vit, tmp_path, strategy):
  own = images(tmp_path / "own")
  config = read(
    "transfer_images",
    **{
      "init.source": str(vit),
      "data.path": str(own),
      "init.strategy": strategy,
      "training.epochs": "4",
      "sharding.devices": "1",
    },
  )
  summary = experiment.train(config, tmp_path / "run", progress=False)
  assert np.isfinite(summary["metrics"]["test/loss"])


@pytest.mark.slow
def test_scratch_keeps_the_inputs_and_the_published_entries(vit, tmp_path):
  own = images(tmp_path / "own")
  settings = {
    "init.source": str(vit),
    "data.path": str(own),
    "training.steps": "2",
    "sharding.devices": "1",
  }
  folders = {name: tmp_path / name for name in ("full", "scratch")}
  for name, folder in folders.items():
    config = read("transfer_images", **settings, **{"init.strategy": name})
    experiment.train(config, folder, progress=False)
  one, two = (experiment.RunFolder(folder) for folder in folders.values())
  assert one.info().schema.normalization["mean"] == [0.5, 0.4, 0.3]
  assert one.info().schema == two.info().schema
  assert one.config()["model"] == two.config()["model"]
  assert one.published() == two.published() != {}


@pytest.mark.parametrize(
  ("name", "hint"),
  [
    ("transfer_images", "configs/images.py"),
    ("transfer_text", "configs/text.py"),
    ("transfer_lm", "configs/docs_lm.py"),
  ],
)
def test_weights_are_required(name, hint):
  with pytest.raises(UserError, match=rf"init\.source[\s\S]*{hint}"):
    read(name)


def test_weights_of_another_kind_are_refused(vit, tmp_path):
  own = images(tmp_path / "own")
  bert = published(
    tmp_path / "bert",
    "bert_base",
    np.zeros((1, 4), np.int32),
    num_classes=2,
    vocab_size=11,
    max_length=8,
    depth=1,
    width=8,
    num_heads=2,
    mlp_dim=16,
  )
  settings = {"init.source": str(bert), "data.path": str(own)}
  with pytest.raises(UserError, match="a model of images"):
    read("transfer_images", **settings)
  with pytest.raises(UserError, match=r"the head 'lm'[\s\S]*Bert in"):
    read("transfer_lm", **settings)


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("transfer_images", "images"),
    ("transfer_lm", "texts"),
    ("transfer_pairs", "texts"),
    ("transfer_text", "texts"),
  ],
)
def test_the_message_for_weights_of_another_kind_names_both(
  name, expected, vit, tmp_path
):
  rows = [f"a text {i},{i % 2}" for i in range(20)]
  (tmp_path / "own.csv").write_text("\n".join(["text,label", *rows]))
  runs = f"{ROOT}/tests/runs_v0_1"
  sources = {
    f"{runs}/table_adafactor": r"the run \S* of the model 'mlp' and the task "
    "'classification', with inputs of numbers"
  }
  if expected == "texts":
    sources |= {
      str(vit): r"ViT in \S*, with inputs of images",
      f"{runs}/cnn_ema": "of the model 'cnn' .* inputs of images",
    }
  for source, got in sources.items():
    settings = {"init.source": source, "data.path": str(tmp_path / "own.csv")}
    with pytest.raises(UserError, match=got) as error:
      read(name, **settings)
    assert f"expected weights of a model of {expected}" in error.value.lines[0]
    if expected == "texts" and "images" in got:
      assert "transfer_images" in error.value.lines[2]


@pytest.mark.slow
def test_a_language_model_begins_with_a_run_of_a_model_of_one_direction(
  tmp_path,
):
  table = tmp_path / "own.csv"
  rows = [f"the {('new', 'old')[i % 2]} film {i},{i}" for i in range(60)]
  table.write_text("\n".join(["text,price", *rows]))
  for name in ("bert_base", "gpt2"):
    config = experiment.complete(
      {
        "data": {
          "name": "text_csv",
          "path": str(table),
          "text": "text",
          "target": "price",
          "tokenizer": "words",
          "batch_size": 4,
        },
        "model": {
          "name": name,
          "head": "classifier",
          "width": 8,
          "depth": 1,
          "num_heads": 2,
        },
        "task": {"name": "regression"},
        "training": {"steps": 1},
        "sharding": {"devices": 1},
      }
    )
    experiment.train(config, tmp_path / name, progress=False)
  settings = {"data.path": str(table)}
  with pytest.raises(UserError, match=r"next token .*\ngot .*'regression'"):
    read(
      "transfer_lm", **settings, **{"init.source": str(tmp_path / "bert_base")}
    )
  config = read(
    "transfer_lm", **settings, **{"init.source": str(tmp_path / "gpt2")}
  )
  assert config["model"]["head"] == "lm"


@pytest.mark.slow
def test_a_run_keeps_the_normalization_without_its_weights(vit, tmp_path):
  weights = shutil.copytree(vit, tmp_path / "weights")
  settings = {
    "init.source": str(weights),
    "data.path": str(images(tmp_path / "own")),
    "init.strategy": "full",
    "training.steps": "4",
    "optim.schedule": "constant",
    "sharding.devices": "1",
  }
  config = read("transfer_images", **settings)
  summary = experiment.train(config, tmp_path / "run", progress=False)
  shutil.rmtree(weights)
  loss = experiment.evaluate(tmp_path / "run")["loss"]
  assert loss == summary["metrics"]["test/loss"]
  config["training"]["steps"] = 6
  experiment.train(config, tmp_path / "run", progress=False)


@pytest.mark.slow
def test_tokens_added_to_the_tokenizer_are_trained(tmp_path):
  texts = ["a fine film <new>", "a dull film", "fine and very fine", "so dull"]
  tokenizer = train_tokenizer(texts * 9, kind="wordpiece", vocab_size=60)
  bert = published(
    tmp_path / "bert",
    "bert_base",
    np.zeros((1, 4), np.int32),
    head="mlm",
    vocab_size=tokenizer.vocab_size,
    max_length=16,
    depth=1,
    width=8,
    num_heads=2,
    mlp_dim=16,
  )
  inner = tokenizer.inner
  inner.add_tokens(["<new>", "<other>"])
  inner.save(str(bert / "tokenizer.json"))
  table = tmp_path / "texts.csv"
  rows = [f"{text},{i % 2}" for i, text in enumerate(texts * 20)]
  table.write_text("\n".join(["text,label", *rows]))
  settings = {
    "init.source": str(bert),
    "init.strategy": "full",
    "data.path": str(table),
    "data.text": "text",
    "data.target": "label",
    "data.batch_size": "4",
    "training.epochs": "0",
    "training.steps": "4",
    "optim.schedule": "constant",
    "sharding.devices": "1",
  }
  config = read("transfer_text", **settings)
  experiment.train(config, tmp_path / "run", progress=False)
  run = experiment.load(tmp_path / "run")
  table = run.variables["params"]["word_embedding"]["embedding"]
  assert table.shape == (tokenizer.vocab_size + 2, 8)
  config["training"]["steps"] = 6
  experiment.train(config, tmp_path / "run", progress=False)
  # The export has the tokenizer with these tokens.
  experiment.export(tmp_path / "run", "safetensors", tmp_path / "out")
  model, _ = transfer.from_pretrained(tmp_path / "out")
  exported = transfer.load_tokenizer(tmp_path / "out")
  assert model.vocab_size == exported.vocab_size == tokenizer.vocab_size + 2
  ids = exported.encode(["fine <new>"])["input_ids"]
  assert ids.max() == tokenizer.vocab_size
  names = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
  assert inner.token_to_id(names["pad_token"]) == exported.pad_id
  # Without config.json and tokenizer the tokens of weights are unknown.
  other = {**config, "init": {**config["init"]}}
  other["init"]["source"] = str(bert / "model.safetensors")
  own = {"tokenizer": str(tmp_path / "tokenizer.json")}
  other["data"] = {**config["data"], **own}
  (bert / "config.json").rename(tmp_path / "config.json")
  (bert / "tokenizer.json").rename(tmp_path / "tokenizer.json")
  with pytest.raises(UserError, match="word_embedding"):
    experiment.train(other, tmp_path / "unknown", progress=False)
  (tmp_path / "config.json").rename(bert / "config.json")
  # A folder whose tokenizer belongs to other weights is refused.
  other = train_tokenizer(["other words"] * 9 + texts, kind="wordpiece")
  other.inner.save(str(bert / "tokenizer.json"))
  with pytest.raises(UserError, match="token ids, those of the weights"):
    experiment.build(read("transfer_text", **settings))


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["characters", "words"])
def test_texts_have_the_tokens_of_a_run_with_fitted_ones(tokenizer, tmp_path):
  lines = [f"the {word} film ends." for word in ("fine", "dull", "very long")]
  (tmp_path / "lines.txt").write_text("\n".join(lines * 40))
  few = {
    "data.batch_size": "4",
    "training.epochs": "0",
    "training.steps": "4",
    "optim.schedule": "constant",
    "sharding.devices": "1",
  }
  config = read(
    "docs_lm",
    **few,
    **{
      "data.name": "text_file",
      "data.path": str(tmp_path / "lines.txt"),
      "data.tokenizer": tokenizer,
      "data.max_length": "8",
      "model.width": "8",
    },
  )
  experiment.train(config, tmp_path / "source", progress=False)
  table = tmp_path / "texts.csv"
  rows = [f"the {('new', 'old')[i % 2]} film {i},{i % 2}" for i in range(60)]
  table.write_text("\n".join(["text,label", *rows]))
  texts = read(
    "transfer_text",
    **few,
    **{
      "init.source": str(tmp_path / "source"),
      "data.path": str(table),
      "data.text": "text",
      "data.target": "label",
    },
  )
  # Texts may be longer than the pieces of a running text.
  assert texts["data"]["max_length"] == 256
  source = experiment.load(tmp_path / "source").info.schema.tokenizer
  experiment.train(texts, tmp_path / "texts", progress=False)
  assert experiment.load(tmp_path / "texts").info.schema.tokenizer == source
  assert source.encode("new")[0] != source.encode("the")[0]
  lines_too = read(
    "transfer_lm",
    **few,
    **{
      "init.source": str(tmp_path / "source"),
      "data.path": str(tmp_path / "lines.txt"),
    },
  )
  assert lines_too["data"]["max_length"] == 8
  experiment.train(lines_too, tmp_path / "lines", progress=False)
  assert experiment.load(tmp_path / "lines").info.schema.tokenizer == source


@pytest.mark.slow
def test_exports_of_chats_have_their_template(tmp_path):
  rows = [(f"what is {i}?", f"it is {i}") for i in range(40)]
  tokenizer = train_tokenizer([t for row in rows for t in row], kind="bpe")
  tokenizer.inner.add_special_tokens(["<|im_start|>", "<|im_end|>"])
  tokenizer.inner.save(str(tmp_path / "tokenizer.json"))
  lines = [json.dumps({"instruction": q, "output": a}) for q, a in rows]
  (tmp_path / "own.jsonl").write_text("\n".join(lines))
  chats = {"path": str(tmp_path / "own.jsonl"), "max_length": 64}
  config = experiment.complete(
    {
      "data": {
        "name": "chat",
        **chats,
        "tokenizer": str(tmp_path / "tokenizer.json"),
        "batch_size": 4,
      },
      "model": {"name": "gpt2", "width": 8, "depth": 1, "num_heads": 2},
      "task": {"name": "language_model"},
      "training": {"steps": 1},
      "sharding": {"devices": 1},
    }
  )
  experiment.train(config, tmp_path / "run", progress=False)
  experiment.export(tmp_path / "run", "safetensors", tmp_path / "out")
  own = experiment.load(tmp_path / "run").info.schema
  splits = data.load("chat", tokenizer=str(tmp_path / "out"), **chats)
  schema = splits.train.info.schema
  assert (own.template, schema.template) == ("chatml", "jinja")
  assert schema.end_ids == own.end_ids
  again = data.load("chat", tokenizer=str(tmp_path / "run"), **chats).train
  assert again.info.schema.template == "chatml"
  for name, array in again.arrays.items():
    np.testing.assert_array_equal(splits.train.arrays[name], array)

"""Embeddings of published models equal those of PyTorch."""

import json
from pathlib import Path

import golden
import jax
import numpy as np
import pytest
from PIL import Image

from dlcore import transfer
from dlcore.data.images.decoding import UnreadableError
from dlcore.errors import UserError
from dlcore.layers import pool_tokens
from dlcore.transfer.image_preprocessing import read_preprocessing
from dlcore.transfer.io import safetensors
from dlcore.transfer.io.safetensors import File

SENTENCES = golden.FOLDER / "sentences.safetensors"
MODES = {
  "cls": "pooling_mode_cls_token",
  "max": "pooling_mode_max_tokens",
  "mean": "pooling_mode_mean_tokens",
  "mean_sqrt_len": "pooling_mode_mean_sqrt_len_tokens",
}


def write(path: Path, content):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(content))


def write_model(folder: Path, file: Path):
  """Writes config.json and the weights of a golden file."""
  folder.mkdir(exist_ok=True)
  arrays = {
    key.removeprefix("weight/"): np.array(array)
    for key, array in File(file).items()
    if key.startswith("weight/")
  }
  safetensors.write(folder / "model.safetensors", arrays)
  metadata = File(file).metadata
  config = {
    "model_type": metadata.get("family"),
    **json.loads(metadata["config"]),
  }
  write(folder / "config.json", config)


@pytest.fixture
def sentences(tmp_path):
  """Makes a sentence-transformers folder: `sentences("mean", "Normalize")`."""

  def make(*poolings, modules=("Transformer", "Pooling"), **settings):
    metadata = File(SENTENCES).metadata
    write_model(tmp_path, SENTENCES)
    (tmp_path / "tokenizer.json").write_text(metadata["tokenizer"])
    paths = {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Norm"}
    prefix = "sentence_transformers.models."
    entries = [
      {"idx": i, "path": paths.get(name, name), "type": prefix + name}
      for i, name in enumerate(modules)
    ]
    write(tmp_path / "modules.json", entries)
    modes = {mode: name in poolings for name, mode in MODES.items()}
    write(tmp_path / "1_Pooling/config.json", modes)
    length = {"max_seq_length": int(metadata["max_length"])}
    write(tmp_path / "sentence_bert_config.json", {**length, **settings})
    return tmp_path

  return make


def embed(folder: Path, texts=()) -> np.ndarray:
  """Returns the embeddings of the golden texts."""
  encoder = transfer.load_encoder(folder)
  texts = texts or json.loads(File(SENTENCES).metadata["texts"])
  [batch] = encoder.schema.read_texts(texts, 8)
  return np.asarray(jax.jit(encoder.apply)(encoder.variables, batch.arrays))


def expected(name: str) -> np.ndarray:
  return np.asarray(File(SENTENCES)[f"output/{name}"])


@pytest.mark.fast_cases("mean")
@pytest.mark.parametrize("pooling", MODES)
def test_pooled_tokens_are_those_of_pytorch(sentences, pooling):
  error = golden.difference(embed(sentences(pooling)), expected(pooling))
  assert error < 1e-5


def test_normalized_embeddings_are_those_of_pytorch(sentences):
  modules = ("Transformer", "Pooling", "Normalize")
  values = embed(sentences("mean", modules=modules))
  assert golden.difference(values, expected("normalized")) < 1e-5


@pytest.mark.slow
def test_several_poolings_are_joined_in_their_order(sentences):
  values = embed(sentences("mean", "cls"))
  joined = np.hstack([expected("cls"), expected("mean")])
  assert golden.difference(values, joined) < 1e-5


def test_without_modules_a_text_is_the_mean_of_its_tokens(sentences, caplog):
  folder = sentences("cls")
  (folder / "modules.json").unlink()
  values = embed(folder)[:1]
  # Without max_seq_length, the last text would be longer.
  assert golden.difference(values, expected("mean")[:1]) < 1e-5
  assert "without modules.json" in caplog.text


def test_do_lower_case_is_applied_before_the_tokenizer(sentences):
  folder = sentences("mean", do_lower_case=True)
  path = folder / "tokenizer.json"
  tokenizer = json.loads(path.read_text())
  tokenizer["normalizer"] = None
  write(path, tokenizer)
  values = embed(folder)
  assert golden.difference(values[:4], expected("mean")[:4]) < 1e-5


def test_padding_changes_no_pooling():
  tokens = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
  mask = np.ones((2, 3), np.uint8)
  longer = np.pad(tokens, ((0, 0), (0, 2), (0, 0)), constant_values=9)
  padded = np.pad(mask, ((0, 0), (0, 2)))
  values = pool_tokens(tokens, mask, tuple(MODES), normalize=True)
  other = pool_tokens(longer, padded, tuple(MODES), normalize=True)
  np.testing.assert_allclose(values, other, atol=1e-6)


@pytest.mark.parametrize(
  ("change", "match"),
  [
    ({"modules": ("Transformer", "Pooling", "Dense")}, "Dense"),
    ({"modules": ("Pooling", "Transformer")}, "'Pooling, Transformer'"),
    ({"modules": ()}, "expected the modules Transformer, Pooling"),
    ({"max_seq_length": 0}, "max_seq_length of at least 1"),
    ({"max_seq_length": "9"}, "max_seq_length of at least 1"),
    ({"max_seq_length": 2}, "room for a text"),
    ({"do_lower_case": "yes"}, "do_lower_case true or false"),
  ],
)
def test_other_modules_and_values_are_refused_by_name(sentences, change, match):
  with pytest.raises(UserError, match=match) as error:
    transfer.load_encoder(sentences("mean", **change))
  assert len(error.value.lines) <= 3


@pytest.mark.parametrize(
  ("file", "content", "match"),
  [
    ("1_Pooling/config.json", {"pooling_mode_lasttoken": True}, "lasttoken"),
    ("1_Pooling/config.json", {"pooling_mode": "mean"}, "pooling_mode='mean'"),
    ("1_Pooling/config.json", {}, "got none"),
    ("modules.json", {"a": 1}, "expected a JSON list"),
    ("modules.json", ["x"], "modules with a type"),
    (
      "modules.json",
      [{"type": "a.Transformer", "path": "../x"}, {"type": "a.Pooling"}],
      "path of a folder",
    ),
    (
      "config_sentence_transformers.json",
      {"default_prompt_name": "query"},
      "default_prompt_name",
    ),
  ],
)
def test_malformed_files_are_refused(sentences, file, content, match):
  folder = sentences("mean")
  write(folder / file, content)
  with pytest.raises(UserError, match=match):
    transfer.load_encoder(folder)


@pytest.mark.parametrize("name", ["gpt2_lm", "bert_base"])
def test_a_folder_that_lacks_a_part_is_refused(tmp_path, name):
  write_model(tmp_path, golden.FOLDER / f"{name}.safetensors")
  match = "BERT, a DistilBERT or a model of images" if "gpt2" in name else (
    "expected a tokenizer"
  )  # fmt: skip
  with pytest.raises(UserError, match=match):
    transfer.load_encoder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
  with pytest.raises(UserError, match="no such file or folder"):
    transfer.load_encoder(tmp_path / "missing")


def test_a_run_is_not_a_source(tmp_path):
  (tmp_path / "checkpoints").mkdir()
  with pytest.raises(UserError, match="pass a run as workdir"):
    transfer.load_encoder(tmp_path)


def picture(path: Path, height=30, width=40) -> Path:
  pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3))
  Image.fromarray(pixels.astype(np.uint8)).save(path)
  return path


@pytest.mark.fast_cases("vit_classifier")
@pytest.mark.parametrize(
  "name", ["vit_resized", "vit_classifier", "convnext_gray", "resnet_basic"]
)
def test_image_features_are_the_input_of_the_head(tmp_path, name):
  write_model(tmp_path, golden.FOLDER / f"{name}.safetensors")
  settings = {"size": {"height": 12, "width": 12}, "image_mean": [0.5] * 3}
  write(tmp_path / "preprocessor_config.json", settings)
  encoder = transfer.load_encoder(tmp_path)
  shape, _ = encoder.inputs["image"]
  image = encoder.schema.decode(picture(tmp_path / "a.png"), shape)[None]
  assert image.shape[1:] == shape
  features = encoder.apply(encoder.variables, {"image": image})
  model, variables = transfer.from_pretrained(tmp_path)
  channels = slice(shape[-1])
  mean = np.full(3, 0.5, np.float32)[channels]
  std = np.array([0.229, 0.224, 0.225], np.float32)[channels]
  logits = model.apply(
    variables, (image / np.float32(255) - mean) / std, train=False
  )
  head = variables["params"]["head"]
  np.testing.assert_allclose(
    features @ head["kernel"] + head["bias"], logits, rtol=1e-4, atol=1e-5
  )


@pytest.mark.slow
def test_without_a_head_the_features_are_those_of_one(tmp_path, caplog):
  write_model(tmp_path, golden.FOLDER / "vit_base.safetensors")
  encoder = transfer.load_encoder(tmp_path)
  assert "without preprocessor_config.json" in caplog.text
  image = np.zeros((1, *encoder.inputs["image"][0]), np.uint8)
  features = encoder.apply(encoder.variables, {"image": image})
  model, variables = transfer.from_pretrained(
    tmp_path, head="classifier", num_classes=2, allow=".*"
  )
  del variables
  assert features.shape == (1, model.width)


SHORTEST = {"size": {"shortest_edge": 24}}


@pytest.mark.parametrize(
  ("settings", "size", "before"),
  [
    ({"size": {"height": 8, "width": 12}}, (8, 12), (8, 12)),
    ({"size": 8}, (8, 8), (8, 8)),
    ({"size": 14, "crop_pct": 0.875}, (14, 14), (16, 21)),
    ({"size": 384, "crop_pct": 0.9}, (384, 384), (384, 384)),
    (
      {**SHORTEST, "do_center_crop": True, "crop_size": 20},
      (20, 20),
      (24, 32),
    ),
  ],
)
def test_sizes_are_those_of_transformers(tmp_path, settings, size, before):
  """The pixels were compared with its image processors by hand: they agree."""
  write(tmp_path / "preprocessor_config.json", settings)
  result, is_published = read_preprocessing(tmp_path, {}, (24, 24))
  assert is_published
  assert result.size == size
  assert result._resized(30, 40) == before
  image = picture(tmp_path / "a.png")
  assert result.decode(image, 3).shape == (*size, 3)
  assert result.decode(image, 1).shape == (*size, 1)


def test_settings_of_timm_are_read(tmp_path):
  settings = {
    "input_size": [3, 28, 28],
    "crop_pct": 0.9,
    "interpolation": "bicubic",
    "mean": [0.5, 0.5, 0.5],
  }
  result, _ = read_preprocessing(tmp_path, {"pretrained_cfg": settings}, (1, 1))
  assert (result.size, result.shorter_side) == ((28, 28), 31)
  assert result.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    (SHORTEST, "do_center_crop"),
    ({"do_pad": True}, "do_pad"),
    ({"rescale_factor": 1.0}, "rescale_factor"),
    ({"size": {"height": 10**9, "width": 1}}, "not 1 to 4,096"),
    ({"size": [1]}, "AttributeError|TypeError|ValueError"),
    ({"resample": 9}, "resample"),
    ({"image_std": [0, 0, 0]}, "deviation"),
    ({"image_mean": [1, 2]}, "mean"),
    ({**SHORTEST, "do_center_crop": True, "crop_size": 99}, "a crop of"),
  ],
)
def test_preprocessing_that_dlcore_lacks_is_refused(tmp_path, settings, match):
  write(tmp_path / "preprocessor_config.json", settings)
  with pytest.raises(UserError, match=match) as error:
    read_preprocessing(tmp_path, {}, (24, 24))
  assert len(error.value.lines) == 3


def test_a_very_long_image_is_unreadable(tmp_path):
  settings = {"size": 14, "crop_pct": 0.875}
  write(tmp_path / "preprocessor_config.json", settings)
  result, _ = read_preprocessing(tmp_path, {}, (24, 24))
  file = picture(tmp_path / "a.png", 1, 60_000)
  result = result._replace(shorter_side=4096)
  with pytest.raises(UnreadableError, match="too long and narrow"):
    result.decode(file, 3)

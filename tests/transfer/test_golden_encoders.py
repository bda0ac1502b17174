"""Encoders against PyTorch: see tests/golden/make.py."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import models, trees
from dlcore.errors import UserError
from dlcore.models.vit import ViT
from dlcore.transfer import rules
from dlcore.transfer.families import FAMILIES

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = [
  "bert_base",
  "bert_classifier",
  "bert_mlm",
  "bert_tokens",
  "distilbert_base",
  "distilbert_classifier",
  "distilbert_mlm",
  "npz_vit_base",
  "timm_vit_base",
  "timm_vit_grey",
  "vit_base",
  "vit_classifier",
  "vit_resized",
]
TIMM = {"architecture": "vit_tiny_patch16_224"}
DTYPES = {"F32": np.float32, "I64": np.int64}


@functools.cache
def read(name):
  """Returns the metadata of a golden file, and its arrays by kind and name."""
  data = (GOLDEN / f"{name}.safetensors").read_bytes()
  start = 8 + int.from_bytes(data[:8], "little")
  header = json.loads(data[8:start])
  metadata, kinds = header.pop("__metadata__"), {}
  for key, entry in header.items():
    kind, _, what = key.partition("/")
    array = np.frombuffer(
      data,
      DTYPES[entry["dtype"]],
      math.prod(entry["shape"]),
      start + entry["data_offsets"][0],
    ).reshape(entry["shape"])
    kinds.setdefault(kind, {})[what] = array
  return metadata, kinds


@functools.cache
def loaded(name):
  """Returns the rules of a file, the model and its variables."""
  metadata, kinds = read(name)
  family = FAMILIES[metadata["family"]]
  if "config" in metadata:
    model = family.build(json.loads(metadata["config"]))
  else:
    model = ViT(**json.loads(metadata["settings"]))
  first, _ = called(model, kinds["input"])
  shapes = trees.flatten(
    jax.eval_shape(lambda: model.init(jax.random.key(0), first, train=False))
  )
  table = family.rules(model)
  found = rules.load(table, kinds["weight"], shapes)
  assert not found.missing
  assert not found.unused
  for path, shape in shapes.items():
    assert found.arrays[path].shape == shape.shape, path
  return table, model, trees.nest(found.arrays)


def called(model, inputs):
  """Returns the positional argument of a model, and the others."""
  inputs = {
    name: array.astype(np.int32) if array.dtype == np.int64 else array
    for name, array in inputs.items()
  }
  return inputs.pop("images" if "images" in inputs else "input_ids"), inputs


@functools.cache
def computed(name):
  """Returns outputs by name and gradients by published name."""
  _, kinds = read(name)
  table, model, variables = loaded(name)
  first, others = called(model, kinds["input"])

  @functools.partial(jax.jit, compiler_options=FAST)
  def run(variables):
    def loss(variables):
      output, seen = model.apply(
        variables, first, **others, train=False, intermediates=True
      )
      outputs = named(output, seen)
      pairs = ((outputs[n], c) for n, c in kinds["cotangent"].items())
      return sum(jnp.vdot(a, b) for a, b in pairs), outputs

    return jax.grad(loss, has_aux=True)(variables)

  gradients, outputs = run(variables)
  gradients = {k: np.asarray(v) for k, v in trees.flatten(gradients).items()}
  return outputs, rules.save(table, gradients)


FAST = {"xla_backend_optimization_level": 0}


def named(output, seen):
  """Returns the outputs of a model by the names in a golden file."""
  if isinstance(output, tuple):
    outputs = dict(zip(("last_hidden_state", "pooled"), output, strict=True))
  else:
    headless = output.shape == seen["hidden_states"][0].shape
    outputs = {"last_hidden_state" if headless else "logits": output}
  for what, arrays in seen.items():
    outputs |= {f"{what}_{i}": array for i, array in enumerate(arrays)}
  return outputs


def test_every_golden_file_is_looked_at():
  ours = ("bert", "distilbert", "vit", "timm_vit", "npz_vit")
  there = {path.stem for path in GOLDEN.glob("*.safetensors")}
  assert {name for name in there if name.rsplit("_", 1)[0] in ours} == set(
    FILES
  )


@pytest.mark.parametrize("name", FILES)
def test_every_output_is_that_of_pytorch(name):
  outputs, _ = computed(name)
  wanted = read(name)[1]["output"]
  assert set(outputs) == set(wanted)
  for what, array in wanted.items():
    error = np.abs(outputs[what] - array).max() / np.abs(array).max()
    assert error < 1e-5, what


@pytest.mark.parametrize("name", FILES)
def test_every_gradient_is_that_of_pytorch(name):
  _, gradients = computed(name)
  wanted = read(name)[1]["gradient"]
  assert set(gradients) == set(wanted)
  largest = max(np.abs(array).max() for array in wanted.values())
  for what, array in wanted.items():
    # Softmax does not see what is added to all keys: that gradient is 0.
    zero = what.endswith(("key.bias", "k_lin.bias", "key/bias"))
    scale = largest if zero else np.abs(array).max()
    assert np.abs(gradients[what] - array).max() < 1e-4 * scale, what


@pytest.mark.parametrize("name", FILES)
def test_weights_go_in_and_out_with_the_same_bits(name):
  weights = read(name)[1]["weight"]
  table, _, variables = loaded(name)
  published = rules.save(table, trees.flatten(variables))
  assert set(published) == set(weights)
  for what, array in weights.items():
    np.testing.assert_array_equal(published[what], array)


@pytest.mark.parametrize("name", [n for n in FILES if "npz" not in n])
def test_what_is_built_from_the_written_config_is_the_same_model(name):
  family = FAMILIES[read(name)[0]["family"]]
  _, model, _ = loaded(name)
  config = json.loads(json.dumps(family.config(model)))
  again = family.build(config)
  if model.head in (None, "mlm"):
    again = again.clone(num_classes=model.num_classes)
  assert again == model


@pytest.mark.parametrize(
  ("family", "length", "other"), [("vit", 10, 17), ("npz/vit", 4, 9)]
)
def test_position_tables_of_squares_are_resized(family, length, other):
  ((_, resize),) = FAMILIES[family].resize.items()
  table = np.random.default_rng(0).normal(size=(1, length, 3))
  new = resize(table.astype(np.float32), (1, other, 3))
  assert new.shape == (1, other, 3)
  for shape in ((1, other + 1, 3), (1, other, 4), (1, 8, 3)):
    with pytest.raises(ValueError, match=r"differs|no square"):
      resize(table, shape)


@pytest.mark.parametrize(
  ("family", "config", "message"),
  [
    ("bert", {"position_embedding_type": "relative_key"}, "absolute"),
    ("bert", {"hidden_act": "gelu_newer"}, "did you mean 'gelu_new'"),
    ("bert", {"architectures": ["BertForQuiz"]}, "architecture"),
    ("vit", {"pooler_act": "relu"}, "ends in tanh"),
    ("timm/vit", {"architecture": "vit_giant_patch14_224"}, "vit_giant"),
    ("timm/vit", {**TIMM, "model_args": {"reg_tokens": 4}}, "reg_tokens"),
    ("timm/vit", {**TIMM, "global_pool": "avg"}, "class token"),
    ("npz/vit", {}, "create it by its name"),
  ],
)
def test_configs_of_models_that_there_are_not_are_told(family, config, message):
  with pytest.raises(UserError, match=message):
    FAMILIES[family].build(config)


def test_a_model_is_not_written_under_names_that_mean_another():
  bert = models.create("bert_base", num_classes=2)
  distilbert = models.create("distilbert", num_classes=2)
  vit = models.create("vit_tiny", num_classes=2)
  for family, model in (
    ("bert", distilbert),
    ("distilbert", bert),
    ("vit", vit),
    ("timm/vit", vit),
  ):
    with pytest.raises(UserError, match="expected"):
      FAMILIES[family].config(model)


def test_a_name_of_timm_tells_the_sizes():
  name = "vit_small_patch32_384.augreg_in21k"
  model = FAMILIES["timm/vit"].build({"architecture": name})
  shape = FAMILIES["timm/vit"].inputs({"architecture": name})[0].shape
  assert (model.width, model.heads, model.hidden, model.depth) == (
    384,
    6,
    1536,
    12,
  )
  assert (model.patch, model.num_classes, shape) == (32, 1000, (1, 384, 384, 3))


def test_the_first_published_names_of_norms_are_read():
  table, _, variables = loaded("bert_base")
  weights = rules.save(table, trees.flatten(variables))
  old = {
    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
      "LayerNorm.bias", "LayerNorm.beta"
    ): array
    for name, array in weights.items()
  }
  found = rules.load(table, old, trees.flatten(variables))
  assert not found.missing
  assert not found.unused

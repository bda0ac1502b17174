"""Convolutional networks compute what PyTorch's own classes do."""

import functools
import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import trees
from dlcore.errors import UserError
from dlcore.transfer import rules
from dlcore.transfer.families import FAMILIES, Family

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = [
  "convnext_base",
  "convnext_classifier",
  "convnext_grey",
  "resnet_base",
  "resnet_basic",
  "resnet_bottleneck",
  "timm_convnext_odd",
  "timm_convnext_plain",
  "timm_efficientnet_lite_google",
  "timm_efficientnet_lite_symmetric",
  "timm_mixer_small",
  "timm_resnet_basic",
  "timm_resnet_bottleneck",
  "torchvision_vgg_norm",
  "torchvision_vgg_plain",
]
DTYPES = {"F32": np.float32, "I64": np.int64}
# Compiling is what takes the time.
FAST = {"xla_backend_optimization_level": 0}


class Golden(NamedTuple):
  """A golden file and the model it is about."""

  metadata: dict[str, str]
  arrays: dict[str, dict[str, np.ndarray]]
  """By what they are: weight, input, output, cotangent, gradient."""

  family: Family
  model: Any
  shapes: Any
  loaded: rules.Loaded


@functools.cache
def golden(name):
  metadata, arrays = read(name)
  family = FAMILIES[metadata["family"]]
  model = family.build(json.loads(metadata["config"]))
  model = model.clone(**tuples(json.loads(metadata.get("settings", "{}"))))
  shapes = jax.eval_shape(
    lambda: model.init(
      jax.random.key(0), jnp.asarray(arrays["input"]["images"]), train=False
    )
  )
  loaded = rules.load(
    family.rules(model), arrays["weight"], trees.flatten(shapes)
  )
  return Golden(metadata, arrays, family, model, shapes, loaded)


def read(name):
  """Returns the metadata of a golden file, and its arrays by kind and name."""
  data = (GOLDEN / f"{name}.safetensors").read_bytes()
  start = 8 + int.from_bytes(data[:8], "little")
  header = json.loads(data[8:start])
  metadata, kinds = header.pop("__metadata__"), {}
  for key, entry in header.items():
    kind, _, what = key.partition("/")
    kinds.setdefault(kind, {})[what] = np.frombuffer(
      data,
      DTYPES[entry["dtype"]],
      math.prod(entry["shape"]),
      start + entry["data_offsets"][0],
    ).reshape(entry["shape"])
  return metadata, kinds


def tuples(value):
  if isinstance(value, dict):
    return {key: tuples(item) for key, item in value.items()}
  return tuple(map(tuples, value)) if isinstance(value, list) else value


@functools.cache
def computed(name):
  """Returns outputs by name and gradients by published name."""
  case = golden(name)
  variables = trees.restore(case.shapes, case.loaded.arrays)
  extra = {k: v for k, v in variables.items() if k != "params"}
  cotangents = case.arrays["cotangent"]

  @functools.partial(jax.jit, compiler_options=FAST)
  def run(params, images):
    def loss(params):
      output, seen = case.model.apply(
        {"params": params, **extra}, images, train=False, intermediates=True
      )
      pair = case.model.head is None
      outputs = {
        **dict(zip(("hidden", "pooled"), output, strict=True) if pair else ()),
        **({} if pair else {"logits": output}),
        **{
          f"hidden_states_{i}": x for i, x in enumerate(seen["hidden_states"])
        },
      }
      return sum(
        jnp.vdot(outputs[k], c) for k, c in cotangents.items()
      ), outputs

    return jax.grad(loss, has_aux=True)(params)

  gradients, outputs = run(variables["params"], case.arrays["input"]["images"])
  flat = trees.flatten({"params": gradients})
  flat = {path: np.asarray(array) for path, array in flat.items()}
  return outputs, rules.save(case.family.rules(case.model), flat)


def difference(ours, theirs):
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


def test_every_golden_file_of_these_families_is_looked_at():
  found = {
    path.stem
    for path in GOLDEN.glob("*.safetensors")
    if re.match(r"convnext|resnet|timm_(?!vit)|torchvision", path.stem)
  }
  assert found == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_output_is_that_of_pytorch(name):
  outputs, _ = computed(name)
  theirs = golden(name).arrays["output"]
  # The first hidden states of a VGG are the images.
  assert outputs.keys() - theirs.keys() <= {f"hidden_states_{len(theirs) - 1}"}
  shift = len(outputs) - len(theirs)
  for key, array in theirs.items():
    kind, _, i = key.rpartition("_")
    ours = outputs[f"{kind}_{int(i) + shift}" if i.isdigit() else key]
    assert difference(ours, array) < 1e-5, key


@pytest.mark.parametrize("name", NAMES)
def test_every_gradient_is_that_of_pytorch(name):
  _, gradients = computed(name)
  theirs = golden(name).arrays["gradient"]
  assert gradients.keys() == theirs.keys()
  largest = max(np.abs(array).max() for array in theirs.values())
  for key, array in theirs.items():
    # What is added to all channels of a patch, layer norm takes away again:
    # exactly 0 but for rounding.
    zero = key.endswith("mlp_tokens.fc2.bias")
    scale = largest if zero else np.abs(array).max()
    assert np.abs(gradients[key] - array).max() < 1e-4 * scale, key


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_has_its_place_and_comes_back_with_the_same_bits(name):
  case = golden(name)
  ignored = {
    key
    for key in case.arrays["weight"]
    if case.family.ignored and re.search(case.family.ignored, key)
  }
  assert not case.loaded.missing
  assert set(case.loaded.unused) == ignored
  trees.restore(case.shapes, case.loaded.arrays)
  saved = rules.save(case.family.rules(case.model), case.loaded.arrays)
  assert saved.keys() == case.arrays["weight"].keys() - ignored
  for key, array in saved.items():
    np.testing.assert_array_equal(array, case.arrays["weight"][key])


@pytest.mark.parametrize("name", NAMES)
def test_the_config_that_is_written_builds_the_same_model(name):
  case = golden(name)
  if "settings" in case.metadata:
    with pytest.raises(UserError, match="expected the sizes of one of"):
      case.family.config(case.model)
    model = case.family.build(json.loads(case.metadata["config"]))
  else:
    model = case.model
  config = json.loads(json.dumps(case.family.config(model)))
  assert case.family.build(config) == model


@pytest.mark.parametrize("name", NAMES)
def test_a_family_knows_the_channels_of_its_images(name):
  case = golden(name)
  if "settings" not in case.metadata:
    (images,) = case.family.inputs(json.loads(case.metadata["config"]))
    assert images.shape[-1] == case.arrays["input"]["images"].shape[-1]

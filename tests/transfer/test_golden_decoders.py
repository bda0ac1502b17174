"""Decoders and encoder-decoders compute what PyTorch's own classes do."""

import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from dlcore import trees
from dlcore.models import Transformer
from dlcore.transfer import rules
from dlcore.transfer.families import FAMILIES, Family
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.safetensors import File

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = sorted(
  path.stem
  for family in ("gpt2", "llama", "marian", "qwen2", "transformer")
  for path in GOLDEN.glob(f"{family}_*.safetensors")
)

SIDES = {"encoder": ("norm1", "norm2"), "decoder": ("norm1", "norm3")}
KINDS = ("query", "key", "value")


def torch_rules(model):
  """Returns the rules for the layers of torch.nn, which nobody publishes."""
  del model
  found = [rules.Rule("shared.weight", "params/word_embedding/embedding")]
  for side, (first, last) in SIDES.items():
    layer, block = f"{side}.layers.{{i}}", f"params/{side}/block_{{i}}"
    for theirs, name in (
      ("self_attn", "attention"),
      ("multihead_attn", "cross_attention"),
    ):
      ours = [f"{block}/{name}/{kind}" for kind in KINDS]
      found += [
        rules.Rule(
          f"{layer}.{theirs}.in_proj_weight",
          tuple(f"{path}/kernel" for path in ours),
          rules.fused(3, 0, rules.DENSE),
        ),
        rules.Rule(
          f"{layer}.{theirs}.in_proj_bias",
          tuple(f"{path}/bias" for path in ours),
          rules.fused(3, 0),
        ),
        *dense(f"{layer}.{theirs}.out_proj", f"{block}/{name}/out"),
      ]
    found += [
      *dense(f"{layer}.linear1", f"{block}/feedforward/in"),
      *dense(f"{layer}.linear2", f"{block}/feedforward/out"),
      *norm(f"{layer}.{first}", f"{block}/attention_norm"),
      *norm(f"{layer}.{last}", f"{block}/feedforward_norm"),
      *norm(f"{side}.norm", f"params/{side}/norm"),
    ]
    if side == "decoder":
      found += norm(f"{layer}.norm2", f"{block}/cross_attention_norm")
  return found


TORCH = Family(
  torch_rules,
  build=lambda settings: Transformer(**settings),
  config=lambda model: {},
)
FAST = {"xla_backend_optimization_level": 0}


class Golden(NamedTuple):
  """A golden file, and what dlcore makes of its weights and inputs."""

  arrays: dict[str, dict[str, np.ndarray]]
  """By what they are: weight, input, output, cotangent, gradient."""

  model: Any
  family: Any
  loaded: rules.Loaded
  outputs: dict[str, np.ndarray]
  gradients: dict[str, np.ndarray]


@functools.cache
def golden(name):
  file = File(GOLDEN / f"{name}.safetensors")
  arrays = {}
  for key in file:
    kind, _, rest = key.partition("/")
    arrays.setdefault(kind, {})[rest] = np.array(file[key])
  about = file.metadata
  family = {**FAMILIES, "torch": TORCH}[about["family"]]
  model = family.build(json.loads(about.get("config") or about["settings"]))
  inputs = dict(arrays["input"])
  ids = [inputs.pop("input_ids")]
  if "decoder_input_ids" in inputs:
    ids.append(inputs.pop("decoder_input_ids"))

  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), *ids, train=False)
  )
  wanted = trees.flatten(shapes)
  loaded = rules.load(family.rules(model), arrays["weight"], wanted)
  variables = trees.restore(shapes, loaded.arrays)
  ((main, cotangent),) = arrays["cotangent"].items()

  # Most of the time would go into optimising programs that run once.
  @functools.partial(jax.jit, compiler_options=FAST)
  def run(variables):
    def loss(variables):
      output, seen = model.apply(
        variables, *ids, **inputs, train=False, intermediates=True
      )
      return (output * cotangent).sum(), (output, seen)

    return jax.grad(loss, has_aux=True)(variables)

  gradients, (output, seen) = run(variables)
  outputs = {main: np.asarray(output)}
  for kind, states in seen.items():
    outputs |= {f"{kind}_{i}": np.asarray(x) for i, x in enumerate(states)}
  flat = {key: np.asarray(x) for key, x in trees.flatten(gradients).items()}
  saved = rules.save(family.rules(model), flat)
  return Golden(arrays, model, family, loaded, outputs, saved)


def difference(ours, theirs):
  return np.abs(ours - theirs).max() / np.abs(theirs).max()


def of_padding(name, array, golden):
  """Returns where an output is one of a query that is padding."""
  mask = golden.arrays["input"].get("attention_mask")
  if mask is None or array.ndim < 3 or re.match("cross|decoder", name):
    return np.zeros(array.shape, bool)
  if name == "logits" and "decoder_input_ids" in golden.arrays["input"]:
    return np.zeros(array.shape, bool)
  axes = (3, 1, 7, 1) if array.ndim == 4 else (3, 7, 1)
  return np.broadcast_to(mask.reshape(axes) == 0, array.shape)


def test_there_are_cases():
  assert len(NAMES) >= 14


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_has_its_place_and_comes_back_with_the_same_bits(name):
  case = golden(name)
  assert not case.loaded.missing
  assert not case.loaded.unused
  saved = rules.save(case.family.rules(case.model), case.loaded.arrays)
  assert saved.keys() == case.arrays["weight"].keys()
  for key, array in saved.items():
    np.testing.assert_array_equal(array, case.arrays["weight"][key])


@pytest.mark.parametrize("name", NAMES)
def test_every_output_is_that_of_pytorch(name):
  case = golden(name)
  missing = case.outputs.keys() ^ case.arrays["output"].keys()
  if case.family is TORCH:  # It gives out no weights of attention.
    missing = {key for key in missing if "attentions" not in key}
  assert not missing
  for key, theirs in case.arrays["output"].items():
    ours = case.outputs[key]
    ours = np.where(of_padding(key, ours, case), 0, ours)
    assert difference(ours, theirs) < 1e-5, key


@pytest.mark.parametrize("name", NAMES)
def test_every_gradient_is_that_of_pytorch(name):
  case = golden(name)
  theirs = case.arrays["gradient"]
  assert case.gradients.keys() == theirs.keys()
  largest = max(np.abs(array).max() for array in theirs.values())
  for key, ours in case.gradients.items():
    if name.startswith("marian") and key.endswith("k_proj.bias"):
      # Adds the same to all scores of a query: exactly 0 but for rounding.
      assert np.abs(ours - theirs[key]).max() < 1e-4 * largest, key
    else:
      assert difference(ours, theirs[key]) < 1e-4, key


@pytest.mark.parametrize(
  "name", [name for name in NAMES if not name.startswith("transformer")]
)
def test_the_config_that_is_written_builds_the_same_model(name):
  case = golden(name)
  config = json.loads(json.dumps(case.family.config(case.model)))
  assert FAMILIES[config["model_type"]].build(config) == case.model

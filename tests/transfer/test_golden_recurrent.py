"""Recurrent networks against torch.nn: see tests/golden/make.py."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import trees
from dlcore.errors import UserError
from dlcore.models import RecurrentNetwork
from dlcore.transfer import rules
from dlcore.transfer.families import FAMILIES

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = [
  "torch_gru_classifier",
  "torch_gru_plain",
  "torch_gru_stacked",
  "torch_lstm_deep",
  "torch_lstm_lm",
  "torch_lstm_plain",
  "torch_lstm_stacked",
  "torch_rnn_relu",
  "torch_rnn_tanh",
]
DTYPES = {"F32": np.float32, "I64": np.int64}


@functools.cache
def read(name):
  """Returns the family and config of a golden file, and arrays by kind."""
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
  family = FAMILIES[metadata["family"]]
  return family, json.loads(metadata["config"]), kinds


@functools.cache
def loaded(name):
  """Returns the rules of a file, the model and its variables."""
  family, config, kinds = read(name)
  model = family.build(config)
  given = family.inputs(config)
  shapes = trees.flatten(
    jax.eval_shape(
      lambda *given: model.init(jax.random.key(0), *given, train=False), *given
    )
  )
  table = family.rules(model)
  found = rules.load(table, kinds["weight"], shapes)
  assert not found.missing
  assert not found.unused
  for path, shape in shapes.items():
    assert found.arrays[path].shape == shape.shape, path
  return table, model, trees.nest(found.arrays)


@functools.cache
def computed(name):
  """Returns outputs by name, gradients by published name, and of inputs."""
  _, _, kinds = read(name)
  table, model, variables = loaded(name)
  mask = kinds["input"]["attention_mask"].astype(np.int32)
  inputs = kinds["input"]["inputs"]

  def loss(variables, inputs):
    output, seen = model.apply(
      variables, inputs, attention_mask=mask, train=False, intermediates=True
    )
    outputs = {f"carry_{i}": array for i, array in enumerate(seen["carry"])}
    outputs["outputs" if model.head is None else "logits"] = output
    pairs = ((outputs[n], c) for n, c in kinds["cotangent"].items())
    return sum(jnp.vdot(a, b) for a, b in pairs), outputs

  series = np.issubdtype(inputs.dtype, np.floating)
  wanted = (0, 1) if series else 0
  run = jax.jit(jax.grad(loss, wanted, has_aux=True), compiler_options=FAST)
  gradient, outputs = run(variables, inputs if series else np.int32(inputs))
  gradient, of_inputs = gradient if series else (gradient, None)
  gradient = {k: np.asarray(v) for k, v in trees.flatten(gradient).items()}
  return outputs, rules.save(table, gradient), of_inputs


FAST = {"xla_backend_optimization_level": 0}


def error(ours, theirs):
  return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("name", FILES)
def test_outputs_and_carries_are_those_of_pytorch(name):
  _, _, kinds = read(name)
  outputs, _, _ = computed(name)
  assert outputs.keys() == kinds["output"].keys()
  for what, expected in kinds["output"].items():
    assert error(outputs[what], expected) < 1e-5, what


@pytest.mark.parametrize("name", FILES)
def test_gradients_are_those_of_pytorch(name):
  _, _, kinds = read(name)
  _, gradients, of_inputs = computed(name)
  assert gradients.keys() == kinds["gradient"].keys()
  for what, expected in kinds["gradient"].items():
    assert error(gradients[what], expected) < 1e-4, what
  if of_inputs is not None:
    expected = kinds["gradient_of_input"]["inputs"]
    assert error(of_inputs, expected) < 1e-4


@pytest.mark.parametrize("name", FILES)
def test_weights_are_written_as_they_were_read(name):
  _, _, kinds = read(name)
  table, _, variables = loaded(name)
  written = rules.save(table, trees.flatten(variables))
  assert written.keys() == kinds["weight"].keys()
  for what, array in kinds["weight"].items():
    np.testing.assert_array_equal(written[what], array)


@pytest.mark.parametrize("name", FILES)
def test_configs_go_round(name):
  family, config, _ = read(name)
  model = family.build(config)
  assert family.build(family.config(model)) == model
  written = family.config(model)
  for key in config.keys() & written.keys():
    assert written[key] == config[key]


def test_what_torch_has_not_is_told():
  family = FAMILIES["torch/lstm"]
  with pytest.raises(UserError, match="layer_norm"):
    family.rules(RecurrentNetwork(layer_norm=True))
  with pytest.raises(UserError, match="projection"):
    family.build({"model_type": "torch/lstm", "proj_size": 2})

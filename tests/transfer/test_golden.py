"""Every family gives the results of PyTorch and keeps weights bit for bit.

Errors are max|a - b| / max|b| of each tensor. In float32 another order of
summation alone gives up to 1e-5 in outputs and 1e-4 in gradients.
"""

import contextlib
import json
import re

import jax
import numpy as np
import pytest
from flax import linen as nn
from golden import (
  NAMES,
  golden,
  gradient_errors,
  output_errors,
  positional,
)

from dlcore import transfer
from dlcore.errors import UserError
from dlcore.transfer import FAMILIES, selection
from dlcore.transfer.families import name_rules
from dlcore.transfer.io import safetensors, sources

# Outputs that the layers of torch.nn do not return: attention weights, and all
# but the last of stacked recurrent layers.
NOT_RETURNED = {
  "torch": r".*attentions",
  **dict.fromkeys(("torch/gru", "torch/lstm", "torch/rnn"), r"hidden_states"),
}


FAST = {
  *("bert_mlm", "gpt2_lm", "transformer_pre_norm"),
  *("torch_gru_stacked", "torchvision_vgg_plain"),
}
"""Files whose results are compared in the fast tier. Compiling the others takes
more than a minute."""


@pytest.fixture(scope="module", params=NAMES)
def case(request):
  """A golden file; its results are not computed."""
  return golden(request.param)


@pytest.fixture(
  scope="module",
  params=[
    name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
    for name in NAMES
  ],
)
def computed(request):
  """A golden file whose results are computed."""
  return golden(request.param)


@pytest.fixture
def config(case):
  """The config.json of a golden file that describes the model completely."""
  if "config" not in case.metadata or "settings" in case.metadata:
    pytest.skip("no config.json describes this model")
  return json.loads(case.metadata["config"])


def test_every_output_equals_that_of_pytorch(computed):
  outputs, expected = computed.results[0].keys(), computed.arrays["output"]
  assert expected.keys() <= outputs
  pattern = NOT_RETURNED.get(computed.metadata["family"], "^$")
  assert all(re.match(pattern, name) for name in outputs - expected.keys())
  for name, error in output_errors(computed).items():
    assert error < 1e-5, name


def test_every_gradient_equals_that_of_pytorch(computed):
  assert computed.results[1].keys() == computed.arrays["gradient"].keys()
  for name, error in gradient_errors(computed).items():
    assert error < 1e-4, name


def test_every_weight_is_loaded_and_saved_bit_for_bit(case):
  weights, pattern = case.arrays["weight"], case.family.ignored
  unused = case.loaded.unused
  assert not case.loaded.missing
  assert all(pattern and re.search(pattern, name) for name in unused)
  saved = name_rules.save(case.family.rules(case.model), case.loaded.arrays)
  assert saved.keys() == weights.keys() - set(unused)
  for name, array in saved.items():
    np.testing.assert_array_equal(array, weights[name], err_msg=name)


def test_a_written_config_builds_the_same_model(case, config):
  written = json.loads(json.dumps(case.family.describe(case.model)))
  assert FAMILIES[selection.config_family(written)].build(written) == case.model


def test_a_model_that_no_config_describes_is_not_written(case):
  if "settings" not in case.metadata:
    return
  if "config" not in case.metadata:
    config = {}
    with contextlib.suppress(UserError):
      config = case.family.describe(case.model)
    assert config == {}
    return
  with pytest.raises(UserError, match="expected the sizes of one of"):
    case.family.describe(case.model)
  known = case.family.build(json.loads(case.metadata["config"]))
  written = json.loads(json.dumps(case.family.describe(known)))
  assert case.family.build(written) == known


def test_the_inputs_of_a_family_are_those_of_its_models(case, config):
  arrays = positional(case.arrays["input"])
  for known, array in zip(case.family.inputs(config), arrays, strict=True):
    assert known.ndim == array.ndim
    assert known.dtype.kind == array.dtype.kind
    if array.dtype.kind == "f":
      assert known.shape[-1] == array.shape[-1]


def test_a_published_folder_is_loaded_and_written(case, config, tmp_path):
  name, weights = case.metadata["family"], case.arrays["weight"]
  folder, again = tmp_path / "published", tmp_path / "again"
  safetensors.write(folder / sources.SINGLE, weights, {"format": "pt"})
  config = {"model_type": name, **config}
  (folder / sources.CONFIG).write_text(json.dumps(config))
  model, variables = transfer.from_pretrained(folder)
  assert model == case.model

  # Without a config.json the family is inferred from the names.
  if case.family.inferred:
    shapes = jax.eval_shape(lambda: variables)
    loaded, report = transfer.load_pretrained(
      folder / sources.SINGLE, model, shapes
    )
    assert not report.reshaped
    jax.tree.map(np.testing.assert_array_equal, loaded, variables)

  (first, *_) = case.family.inputs(config)
  channels = first.shape[-1] if first.ndim == 4 else 3
  transfer.save_pretrained(
    again, model, variables, channels=channels, family=name
  )
  written = safetensors.File(again / sources.SINGLE)
  counters = {key for key in written if key.endswith("batches_tracked")}
  assert written.keys() - counters <= weights.keys()
  for key in written.keys() - counters:
    np.testing.assert_array_equal(written[key], weights[key], err_msg=key)
  config = json.loads((again / sources.CONFIG).read_text())
  assert FAMILIES[selection.config_family(config)].build(config) == model


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_its_functions_and_a_golden_file(name):
  family = FAMILIES[name]
  assert all(map(callable, (family.rules, family.build, family.describe)))
  assert issubclass(family.model, nn.Module)
  same = {"torchvision/resnet": "timm/resnet", "timm/deit": "timm/vit"}
  assert family == FAMILIES[same.get(name, name)]
  start = same.get(name, name).replace("/", "_")
  assert any(file.rsplit("_", 1)[0].startswith(start) for file in NAMES)

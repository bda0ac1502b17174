"""Outputs and gradients of PyTorch, and of dlcore for the same arrays.

The files are tests/golden/*.safetensors; `make.py` there documents them.
"""

import dataclasses
import functools
import json
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import rule_loading
import torch_layers

from dlcore import models, trees
from dlcore.transfer import FAMILIES, Family
from dlcore.transfer.families import name_rules
from dlcore.transfer.io.safetensors import File

FOLDER = Path(__file__).parents[1] / "golden"
NAMES = sorted(
  path.stem
  for path in FOLDER.glob("*.safetensors")
  if path.stem not in ("format", "lora", "sentences")  # No model alone.
)
POSITIONAL = ("images", "inputs", "input_ids", "decoder_input_ids")
ZERO = {
  # Softmax is invariant to a constant added to all scores of a query.
  "bert": r"key\.bias$",
  "distilbert": r"k_lin\.bias$",
  "marian": r"k_proj\.bias$",
  "npz/vit": r"key/bias$",
  "vit": r"key\.bias$",
  # LayerNorm removes a constant that is added to all channels of a patch.
  "timm/mixer": r"mlp_tokens\.fc2\.bias$",
}
"""By family, the gradients that are 0 up to rounding: their errors are relative
to the largest gradient of the model."""


@dataclasses.dataclass(frozen=True)
class Golden:
  """A golden file, and the results of dlcore for its weights and inputs."""

  metadata: dict[str, str]
  arrays: dict[str, dict[str, np.ndarray]]
  """By kind: weight, input, output, cotangent, gradient; then by name."""

  family: Family
  model: Any
  loaded: rule_loading.Loaded
  variables: Any
  inputs: dict[str, np.ndarray]

  @functools.cached_property
  def results(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs and gradients by name, computed on the first access."""
    outputs, gradients = _compute(self)
    for output in json.loads(self.metadata.get("padded", "[]")):
      outputs[output] = _without_padding(
        outputs[output], self.inputs["attention_mask"]
      )
    return outputs, gradients


def family_of(name: str) -> Family:
  """Returns the family of a golden file."""
  metadata = File(FOLDER / f"{name}.safetensors").metadata
  return {**FAMILIES, "torch": torch_layers.FAMILY}[metadata["family"]]


@functools.cache
def golden(name: str) -> Golden:
  """Returns a golden file with its model and the variables."""
  family = family_of(name)
  file = File(FOLDER / f"{name}.safetensors")
  arrays: dict[str, dict[str, np.ndarray]] = {}
  for key, array in file.items():
    kind, _, name = key.partition("/")
    arrays.setdefault(kind, {})[name] = array
  metadata = file.metadata
  model = _build(family, metadata)
  # JAX has no 64-bit integers by default.
  inputs = {
    key: np.int32(array) if array.dtype == np.int64 else array
    for key, array in arrays["input"].items()
  }
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), *positional(inputs), train=False)
  )
  loaded = rule_loading.load(
    family.rules(model), arrays["weight"], trees.flatten(shapes)
  )
  variables = trees.restore(shapes, loaded.arrays)
  return Golden(metadata, arrays, family, model, loaded, variables, inputs)


def output_errors(case: Golden) -> dict[str, float]:
  """Returns the errors of all outputs, by name."""
  expected = case.arrays["output"]
  outputs, _ = case.results
  return {key: difference(outputs[key], expected[key]) for key in expected}


def gradient_errors(case: Golden) -> dict[str, float]:
  """Returns the errors of all gradients, by name."""
  expected = case.arrays["gradient"]
  largest = max(np.abs(array).max() for array in expected.values())
  zero = ZERO.get(case.metadata["family"])
  _, gradients = case.results
  return {
    key: float(np.abs(gradients[key] - array).max() / largest)
    if zero and re.search(zero, key)
    else difference(gradients[key], array)
    for key, array in expected.items()
  }


def difference(actual: np.ndarray, expected: np.ndarray) -> float:
  """Returns max|a - b| / max|b|."""
  return float(np.abs(actual - expected).max() / np.abs(expected).max())


def _build(family: Family, metadata: dict[str, str]) -> Any:
  settings = _tuples(json.loads(metadata.get("settings", "{}")))
  if "config" not in metadata:
    return family.model(**settings)
  return family.build(json.loads(metadata["config"])).clone(**settings)


def _tuples(value: Any) -> Any:
  """Returns a JSON value with tuples for lists, as fields of models are."""
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def positional(inputs: dict[str, Any]) -> list[Any]:
  """Returns the positional arguments of a model, in order."""
  return [inputs[name] for name in POSITIONAL if name in inputs]


def _compute(case: Golden):
  """Returns outputs by name, and gradients by published name or by input."""
  model, variables, inputs = case.model, case.variables, case.inputs
  others = {k: v for k, v in inputs.items() if k not in POSITIONAL}

  # Optimizing a program that runs once would take most of the time.
  options = {"xla_backend_optimization_level": 0}
  if isinstance(model, models.ConvNeXt):
    # XLA would fuse each of 49 shifted products with its operands.
    options["xla_disable_hlo_passes"] = "fusion"

  @functools.partial(jax.jit, compiler_options=options)
  def run(params, series):
    def loss(params, series):
      output, intermediates = model.apply(
        {**variables, "params": params},
        *positional(inputs | series),
        **others,
        train=False,
        intermediates=True,
      )
      outputs = _named(model, output, intermediates)
      return sum(
        jnp.vdot(outputs[key], cotangent)
        for key, cotangent in case.arrays["cotangent"].items()
      ), outputs

    return jax.grad(loss, (0, 1), has_aux=True)(params, series)

  series = {k: x for k, x in inputs.items() if k in case.arrays["gradient"]}
  gradients, outputs = jax.device_get(run(variables["params"], series))
  of_params, of_series = gradients
  published = name_rules.save(
    case.family.rules(model), trees.flatten({"params": of_params})
  )
  return outputs, published | of_series


def _named(
  model: Any, output: Any, intermediates: dict[str, Any]
) -> dict[str, Any]:
  """Returns the outputs of a model by their names in a golden file."""
  values = output if isinstance(output, tuple) else (output,)
  names = ("logits",) if model.head else ("hidden", "pooled")
  outputs = dict(zip(names, values, strict=False))
  for kind, states in intermediates.items():
    outputs |= {f"{kind}_{i}": array for i, array in enumerate(states)}
  return outputs


def _without_padding(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Sets rows of padded queries in `[B, ..., T, D]` to 0."""
  batch, length = mask.shape
  heads = (1,) * (array.ndim - 3)
  return array * mask.reshape(batch, *heads, length, 1)

"""What PyTorch computed, beside what dlcore makes of the same numbers.

The files are tests/golden/*.safetensors, and `make.py` there tells what is in
them.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch_layers

from dlcore import models, trees
from dlcore.transfer import FAMILIES, Family, rules
from dlcore.transfer.safetensors import File

FOLDER = Path(__file__).parents[1] / "golden"
NAMES = sorted(
  path.stem
  for path in FOLDER.glob("*.safetensors")
  if path.stem != "format"  # It is about dtypes, and of no model.
)
POSITIONAL = ("images", "inputs", "input_ids", "decoder_input_ids")
ZERO = {
  # Softmax does not see what is added to all scores of a query.
  "bert": r"key\.bias$",
  "distilbert": r"k_lin\.bias$",
  "marian": r"k_proj\.bias$",
  "npz/vit": r"key/bias$",
  "vit": r"key\.bias$",
  # What is added to all channels of a patch, layer norm takes away again.
  "timm/mixer": r"mlp_tokens\.fc2\.bias$",
}
"""By family, the gradients that are 0 but for rounding: their errors are over
the largest gradient of the model."""


class Golden(NamedTuple):
  """A golden file, and what dlcore makes of its weights and inputs."""

  metadata: dict[str, str]
  arrays: dict[str, dict[str, np.ndarray]]
  """By what they are: weight, input, output, cotangent, gradient."""

  family: Family
  model: Any
  loaded: rules.Loaded
  outputs: dict[str, np.ndarray]
  gradients: dict[str, np.ndarray]


@functools.cache
def golden(name: str) -> Golden:
  """Returns a golden file and the outputs and gradients of its model."""
  file = File(FOLDER / f"{name}.safetensors")
  arrays: dict[str, dict[str, np.ndarray]] = {}
  for key, array in file.items():
    kind, _, what = key.partition("/")
    arrays.setdefault(kind, {})[what] = array
  about = file.metadata
  family = {**FAMILIES, "torch": torch_layers.FAMILY}[about["family"]]
  model = _build(family, about)
  # JAX has no wide integers.
  inputs = {
    key: np.int32(array) if array.dtype == np.int64 else array
    for key, array in arrays["input"].items()
  }
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), *positional(inputs), train=False)
  )
  table = family.rules(model)
  loaded = rules.load(table, arrays["weight"], trees.flatten(shapes))
  variables = trees.restore(shapes, loaded.arrays)
  outputs, gradients = _compute(model, table, variables, inputs, arrays)
  for what in json.loads(about.get("padded", "[]")):
    outputs[what] = _without_padding(outputs[what], inputs["attention_mask"])
  return Golden(about, arrays, family, model, loaded, outputs, gradients)


def output_errors(case: Golden) -> dict[str, float]:
  """Returns the differences from all outputs of PyTorch, by name."""
  theirs = case.arrays["output"]
  return {key: difference(case.outputs[key], theirs[key]) for key in theirs}


def gradient_errors(case: Golden) -> dict[str, float]:
  """Returns the differences from all gradients of PyTorch, by name."""
  theirs = case.arrays["gradient"]
  largest = max(np.abs(array).max() for array in theirs.values())
  zero = ZERO.get(case.metadata["family"])
  return {
    key: float(np.abs(case.gradients[key] - array).max() / largest)
    if zero and re.search(zero, key)
    else difference(case.gradients[key], array)
    for key, array in theirs.items()
  }


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
  """Returns max|a - b| / max|b|."""
  return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _build(family: Family, about: dict[str, str]) -> Any:
  settings = _tuples(json.loads(about.get("settings", "{}")))
  if "config" not in about:
    assert family.model is not None
    return family.model(**settings)
  return family.build(json.loads(about["config"])).clone(**settings)


def _tuples(value: Any) -> Any:
  """Returns JSON's lists as tuples, which the fields of models are."""
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def positional(inputs: dict[str, Any]) -> list[Any]:
  """Returns those that a model takes without a name, in its order."""
  return [inputs[name] for name in POSITIONAL if name in inputs]


def _compute(model, table, variables, inputs, arrays):
  """Returns outputs by name, and gradients by published name or by input."""
  others = {k: v for k, v in inputs.items() if k not in POSITIONAL}

  # Most of the time would go into optimising a program that runs once.
  options = {"xla_backend_optimization_level": 0}
  if isinstance(model, models.ConvNeXt):
    # 49 shifted products would each be fused with what they shift.
    options["xla_disable_hlo_passes"] = "fusion"

  @functools.partial(jax.jit, compiler_options=options)
  def run(params, series):
    def loss(params, series):
      output, seen = model.apply(
        {**variables, "params": params},
        *positional(inputs | series),
        **others,
        train=False,
        intermediates=True,
      )
      outputs = _named(model, output, seen)
      return sum(
        jnp.vdot(outputs[key], cotangent)
        for key, cotangent in arrays["cotangent"].items()
      ), outputs

    return jax.grad(loss, (0, 1), has_aux=True)(params, series)

  series = {k: x for k, x in inputs.items() if k in arrays["gradient"]}
  gradients, outputs = jax.device_get(run(variables["params"], series))
  of_params, of_series = gradients
  published = rules.save(table, trees.flatten({"params": of_params}))
  return outputs, published | of_series


def _named(model: Any, output: Any, seen: dict[str, Any]) -> dict[str, Any]:
  """Returns the outputs of a model by their names in a golden file."""
  mains = output if isinstance(output, tuple) else (output,)
  names = ("logits",) if model.head else ("hidden", "pooled")
  outputs = dict(zip(names, mains, strict=False))
  for kind, states in seen.items():
    outputs |= {f"{kind}_{i}": array for i, array in enumerate(states)}
  return outputs


def _without_padding(array: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Makes 0 what belongs to a query `[B, ..., T, D]` that is padding."""
  batch, length = mask.shape
  heads = (1,) * (array.ndim - 3)
  return array * mask.reshape(batch, *heads, length, 1)

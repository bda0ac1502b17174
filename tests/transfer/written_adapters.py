"""Folders of PEFT that dlcore writes: `python written_adapters.py FOLDER`.

Each folder CASE has base/ with the weights of a small random model, adapter/,
and expected.safetensors with `input/ARGUMENT` and `output`. With PyTorch,
`tests/golden/make_adapters.py --check=FOLDER` compares them with PEFT.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from peft_folders import logits

from dlcore import models, tasks, transfer
from dlcore.transfer.io import safetensors

KEY = jax.random.key(0)
TEXT = {
  "vocab_size": 17,
  "width": 12,
  "depth": 2,
  "num_heads": 3,
  "mlp_dim": 10,
  "max_length": 9,
}
VIT = {
  "patch_size": 3,
  "width": 12,
  "depth": 2,
  "num_heads": 3,
  "mlp_dim": 10,
  "image_size": 6,
  "activation": "gelu_exact",
  "pool": "class",
}
HEAD = {"trained": "^head/"}
QUERY_VALUE = {"pattern": r"(query|value|feedforward/in)/kernel$"}


class Written(NamedTuple):
  """A model, and the settings of its adapters."""

  model: str
  fields: dict[str, Any]
  settings: dict[str, Any]
  whole: str = ""


CASES = {
  "bert": Written("bert_base", {**TEXT, "num_classes": 3}, HEAD),
  "bert_scan": Written(
    "bert_base",
    {**TEXT, "num_classes": 3, "scan": True},
    {**HEAD, "dora": True, "rank_stabilized": True, "alpha": 3.0},
  ),
  "bert_pooler": Written(
    "bert_base",
    {**TEXT, "num_classes": 3},
    {**HEAD, "alpha": 3.0, "dora": True},
    "^params/pooler/",
  ),
  "bert_norms": Written(
    "bert_base",
    {**TEXT, "head": "tokens", "num_classes": 3},
    {"trained": r"^head/|block_1/attention_norm"},
  ),
  "gpt2": Written("gpt2", {**TEXT, "head": "lm"}, {}),
  "gpt2_partly": Written("gpt2", {**TEXT, "head": "lm"}, QUERY_VALUE),
  "gpt2_stabilized": Written(
    "gpt2",
    {**TEXT, "head": "lm", "scan": True},
    {"rank_stabilized": True, "alpha": 2.0},
  ),
  "gpt2_dora": Written(
    "gpt2", {**TEXT, "head": "lm"}, {**QUERY_VALUE, "dora": True}
  ),
  "llama": Written(
    "smollm_135m",
    {**TEXT, "num_kv_heads": 1, "head": "lm", "tie_embeddings": False},
    {"dora": True, "trained": "^head/"},
  ),
  "vit": Written("vit_tiny", {**VIT, "num_classes": 4}, HEAD),
  "vit_dora": Written(
    "vit_tiny", {**VIT, "num_classes": 4}, {**HEAD, "dora": True}
  ),
  "resnet": Written(
    "resnet18",
    {"width": 4, "stages": (1, 1), "num_classes": 4},
    {**HEAD, "dora": True, "rank_stabilized": True},
  ),
  "convnext": Written(
    "convnext_tiny",
    {"widths": (4, 8), "depths": (1, 1), "num_classes": 4},
    {**HEAD, "pattern": "(dense_.|conv)/kernel$"},
  ),
}


def write(folder: Path, name: str) -> dict[str, Any]:
  """Writes the folder of a case; returns its parts.

  Returns:
    The model, its weights, its variables with merged updates, the settings of
    the task and the entries of adapter_config.json.
  """
  case = CASES[name]
  model = models.create(case.model, **case.fields)
  inputs, input_name = _inputs(case)
  task = tasks.classification(model, input=input_name)
  task = tasks.lora(task, rank=2, **case.settings)
  params, state = jax.eval_shape(task.init, KEY, {input_name: inputs})
  params, state = _random((params, state))
  base = _base(model, inputs)
  params, state = transfer.initial(base, task)(params, state)
  params = _random(params, params)
  variables = task.variables(params, state)
  settings = {"alpha": 16.0, "rank_stabilized": False, **case.settings}
  for key in ("pattern", "trained", "dora"):
    settings.pop(key, None)
  entries = transfer.save_adapters(
    folder / "adapter",
    model,
    params,
    variables,
    whole=case.whole,
    base_model=str(folder.name),
    **settings,
  )
  return {
    "model": model,
    "base": base,
    "inputs": inputs,
    "variables": variables,
    "settings": settings,
    "entries": entries,
  }


def _inputs(case: Written) -> tuple[np.ndarray, str]:
  generator = np.random.default_rng(0)
  if "vocab_size" in case.fields:
    ids = generator.integers(1, 17, (3, 7)).astype(np.int32)
    return ids, "input_ids"
  size = case.fields.get("image_size", 32)
  images = generator.normal(size=(2, size, size, 3)).astype(np.float32)
  return images, "image"


def _base(model: Any, inputs: np.ndarray) -> Any:
  """Returns random variables of a model."""
  shapes = jax.eval_shape(lambda: model.init(KEY, inputs, train=False))
  return _random(shapes)


def _random(shapes: Any, center: Any = None) -> Any:
  """Returns random arrays, positive ones of variances."""
  generator = np.random.default_rng(0)

  def array(path, leaf, middle=0.0):
    noise = 0.3 * generator.normal(size=leaf.shape)
    last = jax.tree_util.keystr(path)
    values = np.asarray(middle) + noise
    if "var" in last or ("scale" in last and center is None):
      values = 1 + np.abs(noise)
    return values.astype(np.float32)

  trees = (shapes,) if center is None else (shapes, center)
  return jax.tree_util.tree_map_with_path(array, *trees)


def main() -> None:
  """Writes all cases."""
  for name in CASES:
    folder = Path(sys.argv[1]) / name
    parts = write(folder, name)
    model, inputs = parts["model"], parts["inputs"]
    transfer.save_pretrained(folder / "base", model, parts["base"])
    output = logits(model, parts["variables"], inputs)
    is_image = inputs.ndim == 4
    arrays = {
      "input/pixel_values" if is_image else "input/input_ids": (
        inputs.transpose(0, 3, 1, 2) if is_image else inputs
      ),
      "output": output,
    }
    safetensors.write(folder / "expected.safetensors", arrays)


if __name__ == "__main__":
  main()

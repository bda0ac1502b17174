"""Folders of PEFT with their models, for the tests."""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import transfer, trees
from dlcore.transfer.io import safetensors
from dlcore.transfer.io.safetensors import File

FOLDER = Path(__file__).parents[1] / "golden" / "adapters"
CASES = sorted(path.name for path in FOLDER.iterdir())


class PeftCase(NamedTuple):
  """A folder that PEFT wrote, and its model with weights."""

  folder: Path
  model: Any
  variables: Any
  inputs: np.ndarray
  output: np.ndarray
  merged: dict[str, np.ndarray]
  """Weights with their updates, by published name."""

  rules: Any

  def logits(self, variables):
    """Returns the first output of the model."""
    return logits(self.model, variables, self.inputs)


def logits(model, variables, inputs):
  """Returns the first output of a model."""
  apply = jax.jit(functools.partial(model.apply, train=False))
  output = apply(variables, inputs)
  return np.asarray(output[0] if isinstance(output, tuple) else output)


@functools.cache
def case(name: str, *, scan: bool = False) -> PeftCase:
  """Returns a golden case, perhaps with a model of scanned blocks."""
  file = File(FOLDER / name / "base.safetensors")
  kinds: dict[str, dict[str, np.ndarray]] = {}
  for key, array in file.items():
    kind, _, rest = key.partition("/")
    kinds.setdefault(kind, {})[rest] = array
  family = transfer.FAMILIES[file.metadata["family"]]
  model = family.build(json.loads(file.metadata["config"]))
  if scan:
    model = model.clone(scan=True)
  [inputs] = kinds["input"].values()
  if inputs.ndim == 4:
    inputs = inputs.transpose(0, 2, 3, 1)
  else:
    inputs = inputs.astype(np.int32)
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), inputs, train=False)
  )
  variables = load(kinds["weight"], model, shapes, family)
  return PeftCase(
    FOLDER / name,
    model,
    variables,
    inputs,
    kinds["output"][""],
    kinds["merged"],
    family.rules(model),
  )


def load(weights, model, shapes, family):
  """Returns the variables of a model from published weights in memory."""
  from dlcore.transfer import stacked_blocks
  from dlcore.transfer.families import name_rules

  leaves = trees.flatten(shapes)
  slices = stacked_blocks.slices(leaves)
  builder = stacked_blocks.LeafBuilder(leaves)
  plan = name_rules.assign(family.rules(model), weights, slices)
  for read in plan.reads:
    pieces = read.layout.load(weights[read.name])
    for path, piece in zip(read.paths, pieces, strict=True):
      builder.fill(slices[path], piece)
  for part in slices.values():
    builder.close(part)
  return trees.restore(shapes, builder.leaves)


def copied(source: Path, folder: Path, *, arrays=None, **entries) -> Path:
  """Copies a folder of PEFT with other entries and arrays.

  Args:
    source: the folder.
    folder: the copy.
    arrays: `arrays by name -> arrays by name`.
    **entries: of adapter_config.json.
  """
  folder.mkdir(exist_ok=True)
  config = json.loads((source / "adapter_config.json").read_text())
  text = json.dumps({**config, **entries})
  (folder / "adapter_config.json").write_text(text)
  old = dict(File(source / "adapter_model.safetensors").items())
  new = old if arrays is None else arrays(old)
  safetensors.write(folder / "adapter_model.safetensors", new)
  return folder


def parts(case, adapters, **changes):
  """Returns a lora task of a case, its state and the settings."""
  from dlcore import tasks

  name = "image" if case.inputs.ndim == 4 else "input_ids"
  task = tasks.classification(case.model, input=name)
  task = tasks.lora(task, **{**adapters.settings, **changes})
  batch = {name: case.inputs}
  params, state = task.init(jax.random.key(0), batch)
  return task, params, state

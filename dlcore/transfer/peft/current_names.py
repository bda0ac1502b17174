"""Names of modules in transformers that differ from those of published weights.

Published weights of ViT keep their names, but version 5 of transformers renames
the modules, which PEFT adapts, and PEFT writes the names of the modules.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from dlcore.transfer.families import FAMILIES

CURRENT: Mapping[str, Mapping[str, str]] = {
  "vit": {
    "encoder.layer.{i}.attention.attention.query": "layers.{i}.attention.q_proj",
    "encoder.layer.{i}.attention.attention.key": "layers.{i}.attention.k_proj",
    "encoder.layer.{i}.attention.attention.value": "layers.{i}.attention.v_proj",
    "encoder.layer.{i}.attention.output.dense": "layers.{i}.attention.o_proj",
    "encoder.layer.{i}.intermediate.dense": "layers.{i}.mlp.fc1",
    "encoder.layer.{i}.output.dense": "layers.{i}.mlp.fc2",
    "encoder.layer.{i}.layernorm_before": "layers.{i}.layernorm_before",
    "encoder.layer.{i}.layernorm_after": "layers.{i}.layernorm_after",
  }
}
"""By family: current names of modules by their names in published weights."""


def published(model: Any, name: str) -> str:
  """Returns the name of an array in published weights.

  Args:
    model: the module.
    name: the name of an array or module, perhaps with current parts.
  """
  for family, names in CURRENT.items():
    if isinstance(model, FAMILIES[family].model):
      for old, new in names.items():
        name = _replaced(new, old, name)
  return name


def current(family: str, name: str) -> str:
  """Returns the current name of a module with a published name."""
  for old, new in CURRENT.get(family, {}).items():
    replaced = _replaced(old, new, name)
    if replaced != name:
      return replaced
  return name


def both(family: str, names: Collection[str]) -> set[str]:
  """Returns published names and the current ones of the same modules."""
  return {*names, *(current(family, name) for name in names)}


def _replaced(template: str, other: str, name: str) -> str:
  """Returns a name with the module of one template in place of the other's."""
  pattern = re.escape(template).replace(r"\{i\}", r"(\d{1,9})")
  return re.sub(
    rf"^((?:vit\.)?){pattern}(?=\.|$)",
    lambda match: match[1] + other.replace("{i}", match[2]),
    name,
  )

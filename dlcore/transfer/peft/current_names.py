"""Names of modules in transformers that differ from those of published weights.

Published weights of ViT keep their names, but version 5 of transformers renames
the modules, which PEFT adapts, and PEFT writes the names of the modules.
"""

import re
from collections.abc import Mapping
from typing import Any

from dlcore.transfer.families import FAMILIES

VIT = {
  "attention.attention.query": "attention.q_proj",
  "attention.attention.key": "attention.k_proj",
  "attention.attention.value": "attention.v_proj",
  "attention.output.dense": "attention.o_proj",
  "intermediate.dense": "mlp.fc1",
  "output.dense": "mlp.fc2",
  "layernorm_before": "layernorm_before",
  "layernorm_after": "layernorm_after",
}
CURRENT: Mapping[str, Mapping[str, str]] = {
  "vit": {
    f"encoder.layer.{{i}}.{old}": f"layers.{{i}}.{new}"
    for old, new in VIT.items()
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
  """Returns the current name of a module or array with a published name."""
  for old, new in CURRENT.get(family, {}).items():
    replaced = _replaced(old, new, name)
    if replaced != name:
      return replaced
  return name


def _replaced(template: str, other: str, name: str) -> str:
  """Returns a name with the module of one template in place of the other's."""
  pattern = re.escape(template).replace(r"\{i\}", r"(\d{1,9})")
  return re.sub(
    rf"^((?:vit\.)?){pattern}(?=\.|$)",
    lambda match: match[1] + other.replace("{i}", match[2]),
    name,
  )

"""dlcore's own format, for runs and for models that no other library has.

Names of arrays are the paths of variables. Its config.json is
`{"model_type": "dlcore", "model": {"name": ..., field: value, ...}, "input":
shape without B}`; of a run it also has the `schema` of its data.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dlcore import models
from dlcore.errors import UserError, lookup
from dlcore.transfer.families.family import Family

OWN = "dlcore"
"""Name of the family."""

RENAMED_TEXT = {
  "vocabulary": "vocab_size",
  "heads": "num_heads",
  "hidden": "mlp_dim",
  "length": "max_length",
  "epsilon": "eps",
}
RENAMED: dict[str, dict[str, str]] = {
  "Bert": {**RENAMED_TEXT, "token_types": "num_token_types"},
  "CNN": {"pooling": "stage_pooling"},
  "ConvNeXt": {"epsilon": "eps"},
  "EfficientNetLite": {"epsilon": "eps"},
  "GPT2": RENAMED_TEXT,
  "Llama": {
    **RENAMED_TEXT,
    "tied": "tie_embeddings",
    "key_value_heads": "num_kv_heads",
    "head_size": "head_dim",
    "bias": "qkv_bias",
    "theta": "rope_theta",
    "stretch": "rope_scaling",
  },
  "Mixer": {"tokens": "tokens_mlp_dim", "channels": "channels_mlp_dim"},
  "RecurrentNetwork": {"vocabulary": "vocab_size", "tied": "tie_embeddings"},
  "Seq2Seq": {
    "vocabulary": "vocab_size",
    "target_vocabulary": "target_vocab_size",
  },
  "Transformer": {
    **RENAMED_TEXT,
    "target_vocabulary": "target_vocab_size",
    "target_depth": "decoder_depth",
    "target_heads": "decoder_num_heads",
    "target_hidden": "decoder_mlp_dim",
    "scaled": "scale_embeddings",
    "halves": "sines_first",
    "bias": "logits_bias",
  },
  "ViT": {
    "patch": "patch_size",
    "heads": "num_heads",
    "hidden": "mlp_dim",
    "epsilon": "eps",
  },
}
"""Current names of fields by those of version 0.1, by class of models."""


def current_fields(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields of a model with the names of version 0.1 replaced.

  Args:
    name: key of `models.MODELS`.
    fields: fields of the model under current names or those of version 0.1.

  Raises:
    UserError: there is no such model.
  """
  model = lookup(models.MODELS, name, "model")
  while isinstance(model, functools.partial):
    model = model.func
  renamed = RENAMED.get(model.__name__, {})
  return {renamed.get(key, key): value for key, value in fields.items()}


COMPLETE = ("model", "input")
"""Entries of a config.json that describes a model."""


def is_complete(config: Mapping[str, Any]) -> bool:
  """Returns whether a config.json describes a model and its inputs."""
  return all(key in config for key in COMPLETE)


def check_complete(config: Mapping[str, Any], folder: Any) -> None:
  """Checks that a config.json describes a model, which is optional.

  Args:
    config: content of a config.json of this family.
    folder: its folder, for the message.

  Raises:
    UserError: it was written without a model or without the shape of inputs.
  """
  if not is_complete(config):
    missing = [repr(key) for key in COMPLETE if key not in config]
    raise UserError(
      f"expected a config.json with 'model' and 'input' in {folder}",
      f"got one without {' and '.join(missing)}",
      "create the model, and load the weights by transfer.load_pretrained, or "
      "save them again with config={'model': ..., 'input': ...}",
    )


def _build(config: Mapping[str, Any]) -> Any:
  """Returns the model that a config.json with an entry `model` describes."""
  fields = {key: _tuples(value) for key, value in config["model"].items()}
  name = fields.pop("name")
  return models.create(name, **current_fields(name, fields))


def _tuples(value: Any) -> Any:
  """Returns a JSON value with tuples for lists, as fields of models are."""
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  like = jax.ShapeDtypeStruct((1, *config["input"]), np.float32)
  return models.example_inputs(_build(config), like)


FAMILY = Family(
  rules=lambda model: (),
  build=_build,
  describe=lambda model: {},
  inputs=_inputs,
)
"""`selection.by_name` makes the rules from the paths of a model. The caller of
`save_pretrained` passes the entries of config.json."""

"""Recurrent networks in torch.nn: names and config.json.

A model without a head and an embedding table has the names of `torch.nn.LSTM`,
`GRU` or `RNN` itself. Other models have those of PyTorch's language-model
example, `encoder`, `rnn` and `decoder`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dlcore.errors import UserError, check_choice
from dlcore.models.recurrent_network import RecurrentNetwork
from dlcore.transfer.families import config_fields
from dlcore.transfer.families.config_fields import (
  OPTIONAL,
  UNSUPPORTED,
  Field,
)
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.name_rules import DENSE, Rule

PREFIX = "rnn."

CELLS = {
  ("torch/gru", "tanh"): "gru",
  ("torch/lstm", "tanh"): "lstm",
  ("torch/rnn", "relu"): "rnn_relu",
  ("torch/rnn", "tanh"): "rnn",
}
"""Value of `cell` by `model_type` and `nonlinearity`."""

ARRAYS = (
  ("weight_ih", "input_kernel", DENSE),
  ("weight_hh", "hidden_kernel", DENSE),
  ("bias_ih", "input_bias"),
  ("bias_hh", "hidden_bias"),
)
"""Published name, name here and layout of the arrays of a layer."""

FIELDS = (
  Field("hidden_size", "width"),
  Field("num_layers", "depth", 1),
  Field("bidirectional", "bidirectional", False),
  Field("dropout", "dropout", 0.0),
  Field("head", "head", None),
  Field("vocab_size", "vocab_size", None, *OPTIONAL),
  Field("num_classes", "num_classes", None),
  Field("tied", "tie_embeddings", False),
  Field("horizon", "horizon", 1),
)
"""Arguments of the layers of torch.nn, and fields that they do not have."""


def rules(model: RecurrentNetwork) -> Sequence[Rule]:
  """Returns the name rules of a model.

  The order of the gates is the same in torch.nn. The layers here keep both
  biases, so weights that were loaded are saved again bit for bit.

  Raises:
    UserError: torch.nn has no such layers.
  """
  if model.layer_norm:
    raise UserError(
      "expected layers that torch.nn has",
      "got layer_norm=True",
      "choose family='dlcore', which can express every model",
    )
  is_wrapped = model.head is not None or bool(model.vocab_size)
  base = PREFIX if is_wrapped else ""
  head = "params/logits_bias" if model.tie_embeddings else "params/head/bias"
  return (
    *(
      Rule(
        f"{base}{published}_l{{i}}{suffix}",
        f"params/recurrent/layer_{{i}}_{direction}/{name}",
        *layout,
      )
      for published, name, *layout in ARRAYS
      for direction, suffix in (("forward", ""), ("backward", "_reverse"))
    ),
    Rule("encoder.weight", "params/word_embedding/embedding"),
    Rule("decoder.weight", "params/head/kernel", DENSE),
    Rule("decoder.bias", head),
  )


def build(config: Mapping[str, Any]) -> RecurrentNetwork:
  """Returns the model that a config.json describes.

  Raises:
    UserError: dlcore has no such model.
  """
  kind = (config["model_type"], config.get("nonlinearity", "tanh"))
  if kind not in CELLS or config.get("proj_size", 0):
    raise UserError(
      "expected torch/gru, torch/lstm or torch/rnn, without a projection",
      f"got {dict(config)}",
      UNSUPPORTED,
    )
  fields = config_fields.load_fields(FIELDS, config)
  return RecurrentNetwork(cell=CELLS[kind], **fields)


def describe(model: RecurrentNetwork) -> dict[str, Any]:
  """Returns the arguments of torch.nn's layers and the entries `build` reads.

  Raises:
    UserError: torch.nn has no such cell.
  """
  model_types = {cell: kind for kind, cell in CELLS.items()}
  check_choice("cell", model.cell, model_types)
  model_type, nonlinearity = model_types[model.cell]
  return {
    "architectures": [model_type.removeprefix("torch/").upper()],
    "model_type": model_type,
    "nonlinearity": nonlinearity,
    **config_fields.save_fields(FIELDS, model),
  }


def inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the input of `init`.

  Args:
    config: with `vocab_size` for int32 token ids `[1, 4]`, else with
      `input_size` F for a float32 time series `[1, 4, F]`.
  """
  if config.get("vocab_size") is not None:
    return (jax.ShapeDtypeStruct((1, 4), np.int32),)
  shape = (1, 4, config["input_size"])
  return (jax.ShapeDtypeStruct(shape, np.float32),)


def describe_inputs(
  config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Mapping[str, Any]:
  """Returns a config.json with the `input_size` of a time series.

  It is not a field of the model, but the first axis of the kernel.
  """
  kernel = arrays.get("params/recurrent/layer_0_forward/input_kernel")
  if kernel is None or config.get("vocab_size") is not None:
    return config
  return {**config, "input_size": kernel.shape[0]}


FAMILY = Family(
  rules,
  build,
  describe,
  prefix=PREFIX,
  model=RecurrentNetwork,
  inferred=False,
  inputs=inputs,
  describe_inputs=describe_inputs,
)

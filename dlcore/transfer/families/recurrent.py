"""Recurrent networks as torch.nn names them.

Without a head and a table of words the names are those of `torch.nn.LSTM`,
`GRU` or `RNN` itself; otherwise they are those of PyTorch's example of a
language model, `encoder`, `rnn` and `decoder`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dlcore.errors import UserError
from dlcore.models.recurrent_network import RecurrentNetwork
from dlcore.transfer.families.family import Family
from dlcore.transfer.rules import DENSE, Rule

PREFIX = "rnn."

CELLS = {
  ("torch/gru", "tanh"): "gru",
  ("torch/lstm", "tanh"): "lstm",
  ("torch/rnn", "relu"): "rnn_relu",
  ("torch/rnn", "tanh"): "rnn",
}
"""By `model_type` and `nonlinearity`."""

PARTS = (
  ("weight_ih", "input_kernel", DENSE),
  ("weight_hh", "hidden_kernel", DENSE),
  ("bias_ih", "input_bias"),
  ("bias_hh", "hidden_bias"),
)


def rules(model: RecurrentNetwork) -> Sequence[Rule]:
  """Returns the rules for the names of a model.

  Gates follow one another in our order there, and both biases are kept
  apart here, so that what is read is written again bit for bit.

  Raises:
    UserError: torch.nn has no such layers.
  """
  if model.layer_norm:
    raise UserError("expected layers that torch.nn has", "got layer_norm=True")
  whole = model.head is not None or bool(model.vocabulary)
  base = PREFIX if whole else ""
  head = "params/logits_bias" if model.tied else "params/head/bias"
  return (
    *(
      Rule(
        f"{base}{theirs}_l{{i}}{end}",
        f"params/recurrent/layer_{{i}}_{way}/{ours}",
        *layout,
      )
      for theirs, ours, *layout in PARTS
      for way, end in (("forward", ""), ("backward", "_reverse"))
    ),
    Rule("encoder.weight", "params/word_embedding/embedding"),
    Rule("decoder.weight", "params/head/kernel", DENSE),
    Rule("decoder.bias", head),
  )


def build(config: Mapping[str, Any]) -> RecurrentNetwork:
  """Builds the model of a config.

  Raises:
    UserError: it asks for what this model has not.
  """
  kind = (config["model_type"], config.get("nonlinearity", "tanh"))
  if kind not in CELLS or config.get("proj_size", 0):
    raise UserError(
      "expected torch/gru, torch/lstm or torch/rnn, without a projection",
      f"got {dict(config)}",
    )
  return RecurrentNetwork(
    num_classes=config.get("num_classes"),
    cell=CELLS[kind],
    head=config.get("head"),
    vocabulary=config.get("vocab_size") or 0,
    width=config["hidden_size"],
    depth=config.get("num_layers", 1),
    bidirectional=config.get("bidirectional", False),
    tied=config.get("tied", False),
    horizon=config.get("horizon", 1),
    dropout=config.get("dropout", 0.0),
  )


def config(model: RecurrentNetwork) -> dict[str, Any]:
  """Returns the arguments of torch.nn's layers, and what else `build` reads.

  Series do not tell how wide they are: `input_size` is the last axis of
  `weight_ih_l0`.
  """
  names = {cell: kind for kind, cell in CELLS.items()}
  kind, nonlinearity = names[model.cell]
  return {
    "architectures": [kind.removeprefix("torch/").upper()],
    "model_type": kind,
    "nonlinearity": nonlinearity,
    "hidden_size": model.width,
    "num_layers": model.depth,
    "bidirectional": model.bidirectional,
    "dropout": model.dropout,
    "head": model.head,
    "vocab_size": model.vocabulary or None,
    "num_classes": model.num_classes,
    "tied": model.tied,
    "horizon": model.horizon,
  }


def inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the shapes that a model is initialised with.

  Args:
    config: with `vocab_size` for ids `[1, 4]`, or `input_size` for series.
  """
  if config.get("vocab_size") is not None:
    return (jax.ShapeDtypeStruct((1, 4), np.int32),)
  shape = (1, 4, config["input_size"])
  return (jax.ShapeDtypeStruct(shape, np.float32),)


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  prefix=PREFIX,
  inputs=inputs,
)

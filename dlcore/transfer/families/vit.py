"""The vision transformer as transformers names it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.layers import resize_table
from dlcore.models.vit import ViT
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import CONV, Rule

PREFIX = "vit."

IGNORED = r"(^|\.)embeddings\.mask_token$"

OPTIONAL = r"^params/pooler/"
"""What some of the published models have beside the encoder."""

ARCHITECTURES = {"ViTModel": None, "ViTForImageClassification": "classifier"}
"""Classes of transformers and our heads."""


def rules(model: ViT) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head."""
  base = PREFIX if model.head else ""
  layer, block = f"{base}encoder.layer.{{i}}", "params/block_{i}"
  inputs = (
    dense(f"{layer}.attention.attention.{name}", f"{block}/attention/{name}")
    for name in ("query", "key", "value")
  )
  return (
    Rule(f"{base}embeddings.cls_token", "params/class_token"),
    Rule(f"{base}embeddings.position_embeddings", "params/position"),
    *dense(
      f"{base}embeddings.patch_embeddings.projection", "params/patches", CONV
    ),
    *norm(f"{layer}.layernorm_before", f"{block}/attention_norm"),
    *(rule for pair in inputs for rule in pair),
    *dense(f"{layer}.attention.output.dense", f"{block}/attention/out"),
    *norm(f"{layer}.layernorm_after", f"{block}/feedforward_norm"),
    *dense(f"{layer}.intermediate.dense", f"{block}/feedforward/in"),
    *dense(f"{layer}.output.dense", f"{block}/feedforward/out"),
    *norm(f"{base}layernorm", "params/norm"),
    *dense(f"{base}pooler.dense", "params/pooler"),
    *dense("classifier", "params/head"),
  )


def build(config: Mapping[str, Any]) -> ViT:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  act, width = config.get("pooler_act", "tanh"), config.get("hidden_size", 768)
  if act != "tanh" or config.get("pooler_output_size", width) != width:
    raise UserError(
      f"expected a pooler of width {width} that ends in tanh",
      f"got pooler_act={act!r}, "
      f"pooler_output_size={config.get('pooler_output_size')}",
      parts.UNKNOWN,
    )
  head = parts.head(config, ARCHITECTURES)
  size = config.get("image_size", 224)
  return ViT(
    num_classes=parts.classes(config),
    patch=config.get("patch_size", 16),
    width=width,
    depth=config.get("num_hidden_layers", 12),
    heads=config.get("num_attention_heads", 12),
    hidden=config.get("intermediate_size", 3072),
    image_size=size if isinstance(size, int) else tuple(size),
    head=head,
    pooler=head is None,
    activation=parts.activation(config.get("hidden_act", "gelu")),
    epsilon=config.get("layer_norm_eps", 1e-12),
    qkv_bias=config.get("qkv_bias", True),
    dropout=config.get("hidden_dropout_prob", 0.0),
    attention_dropout=config.get("attention_probs_dropout_prob", 0.0),
  )


def config(model: ViT) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model.

  The number of channels of the images, `num_channels`, is 3 unless one adds
  it: a model does not know it.

  Raises:
    UserError: transformers has no such model.
  """
  if model.pool != "class" or model.pooler != (model.head is None):
    raise UserError(
      "expected pool='class', and a pooler where there is no head",
      f"got pool={model.pool!r}, head={model.head!r}, pooler={model.pooler}",
    )
  if not model.image_size:
    raise UserError(
      "expected a model of known image_size",
      "got image_size=0",
      "set image_size to that of the images of init",
    )
  return {
    "architectures": [parts.architecture(model.head, ARCHITECTURES)],
    "model_type": "vit",
    "patch_size": model.patch,
    "image_size": model.image_size,
    "hidden_size": model.width,
    "num_hidden_layers": model.depth,
    "num_attention_heads": model.heads,
    "intermediate_size": model.hidden or 4 * model.width,
    "hidden_act": parts.published_activation(model.activation),
    "layer_norm_eps": model.epsilon,
    "qkv_bias": model.qkv_bias,
    "hidden_dropout_prob": model.dropout,
    "attention_probs_dropout_prob": model.attention_dropout,
    **parts.labels(model.num_classes),
  }


def resize(method: str) -> Mapping[str, Callable]:
  """Returns how the position table of square images is resized.

  Args:
    method: of `layers.resize_table`.
  """

  def table(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    tokens, old = _grid(array.shape[1])
    wanted, new = _grid(shape[1])
    if tokens != wanted or array.shape[::2] != shape[::2]:
      raise ValueError("the width or the class token differs")
    resized = resize_table(array[0], old, new, method=method, leading=tokens)
    return np.asarray(resized)[None]

  return {r"^params/position$": table}


def _grid(length: int) -> tuple[int, tuple[int, int]]:
  """Returns how many of the positions are no patches, and the square."""
  for tokens in (0, 1):
    side = math.isqrt(length - tokens)
    if side**2 == length - tokens:
      return tokens, (side, side)
  raise ValueError(f"{length} positions are those of no square image")


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=ViT,
  ignored=IGNORED,
  prefix=PREFIX,
  resize=resize("bicubic"),
  optional=OPTIONAL,
)

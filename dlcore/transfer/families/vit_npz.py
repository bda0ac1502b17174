"""The vision transformer as its original release names it, in `.npz` files.

https://github.com/google-research/vision_transformer
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError
from dlcore.models.vit import ViT
from dlcore.transfer.families import vit
from dlcore.transfer.families.family import Family
from dlcore.transfer.rules import Layout, Rule


def rules(model: ViT) -> Sequence[Rule]:
  """Returns the rules; kernels have an axis of heads there."""
  theirs, ours = "Transformer/encoderblock_{i}", "params/block_{i}"
  attention = f"{theirs}/MultiHeadDotProductAttention_1"
  heads, size = model.heads, model.width // model.heads
  inputs = (
    rule
    for name in ("query", "key", "value")
    for rule in (
      Rule(
        f"{attention}/{name}/kernel",
        f"{ours}/attention/{name}/kernel",
        _reshaped((model.width, -1), (model.width, heads, size)),
      ),
      Rule(
        f"{attention}/{name}/bias",
        f"{ours}/attention/{name}/bias",
        _reshaped((-1,), (heads, size)),
      ),
    )
  )
  return (
    Rule("cls", "params/class_token"),
    Rule("Transformer/posembed_input/pos_embedding", "params/position"),
    *_dense("embedding", "params/patches"),
    *_norm(f"{theirs}/LayerNorm_0", f"{ours}/attention_norm"),
    *inputs,
    Rule(
      f"{attention}/out/kernel",
      f"{ours}/attention/out/kernel",
      _reshaped((-1, model.width), (heads, size, model.width)),
    ),
    Rule(f"{attention}/out/bias", f"{ours}/attention/out/bias"),
    *_norm(f"{theirs}/LayerNorm_2", f"{ours}/feedforward_norm"),
    *_dense(f"{theirs}/MlpBlock_3/Dense_0", f"{ours}/feedforward/in"),
    *_dense(f"{theirs}/MlpBlock_3/Dense_1", f"{ours}/feedforward/out"),
    *_norm("Transformer/encoder_norm", "params/norm"),
    *_dense("pre_logits", "params/pooler"),
    *_dense("head", "params/head"),
  )


def _reshaped(ours: tuple[int, ...], theirs: tuple[int, ...]) -> Layout:
  return Layout(
    lambda array: (array.reshape(ours),),
    lambda arrays: arrays[0].reshape(theirs),
  )


def _dense(theirs: str, ours: str) -> tuple[Rule, Rule]:
  return (
    Rule(f"{theirs}/kernel", f"{ours}/kernel"),
    Rule(f"{theirs}/bias", f"{ours}/bias"),
  )


def _norm(theirs: str, ours: str) -> tuple[Rule, Rule]:
  return (
    Rule(f"{theirs}/scale", f"{ours}/scale"),
    Rule(f"{theirs}/bias", f"{ours}/bias"),
  )


def build(config: Mapping[str, Any]) -> ViT:
  """Tells that there is no config.json from which to build a model."""
  raise UserError(
    "expected a model for the weights of an .npz file",
    "got none: the original release has no config.json",
    "create it by its name, and load the file into it",
  )


def config(model: ViT) -> dict[str, Any]:
  """Tells that there is no config.json to write."""
  raise UserError(
    "expected a family to write the weights for",
    "got that of the .npz files, which are only read",
    "name 'vit' or 'timm/vit'",
  )


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=ViT,
  resize=vit.resize("bilinear"),
  optional=vit.OPTIONAL,
)

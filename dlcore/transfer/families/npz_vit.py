"""ViT in its original release, `.npz` files without a config.json: names.

https://github.com/google-research/vision_transformer
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError
from dlcore.models.vit import ViT
from dlcore.transfer.families import hf_vit
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.name_rules import Layout, Rule


def rules(model: ViT) -> Sequence[Rule]:
  """Returns the name rules; published kernels have an axis of heads."""
  published, path = "Transformer/encoderblock_{i}", "params/block_{i}"
  attention = f"{published}/MultiHeadDotProductAttention_1"
  heads, head_dim = model.num_heads, model.width // model.num_heads
  inputs = (
    rule
    for name in ("query", "key", "value")
    for rule in (
      Rule(
        f"{attention}/{name}/kernel",
        f"{path}/attention/{name}/kernel",
        _reshaped((model.width, -1), (model.width, heads, head_dim)),
      ),
      Rule(
        f"{attention}/{name}/bias",
        f"{path}/attention/{name}/bias",
        _reshaped((-1,), (heads, head_dim)),
      ),
    )
  )
  return (
    Rule("cls", "params/class_token"),
    Rule("Transformer/posembed_input/pos_embedding", "params/position"),
    *_dense("embedding", "params/patches"),
    *_norm(f"{published}/LayerNorm_0", f"{path}/attention_norm"),
    *inputs,
    Rule(
      f"{attention}/out/kernel",
      f"{path}/attention/out/kernel",
      _reshaped((-1, model.width), (heads, head_dim, model.width)),
    ),
    Rule(f"{attention}/out/bias", f"{path}/attention/out/bias"),
    *_norm(f"{published}/LayerNorm_2", f"{path}/feedforward_norm"),
    *_dense(f"{published}/MlpBlock_3/Dense_0", f"{path}/feedforward/in"),
    *_dense(f"{published}/MlpBlock_3/Dense_1", f"{path}/feedforward/out"),
    *_norm("Transformer/encoder_norm", "params/norm"),
    *_dense("pre_logits", "params/pooler"),
    *_dense("head", "params/head"),
  )


def _reshaped(shape: tuple[int, ...], published: tuple[int, ...]) -> Layout:
  """Returns the layout of an array of `shape` in the model."""
  return Layout(
    lambda array: (array.reshape(shape),),
    lambda arrays: arrays[0].reshape(published),
  )


def _dense(published: str, path: str) -> tuple[Rule, Rule]:
  return (
    Rule(f"{published}/kernel", f"{path}/kernel"),
    Rule(f"{published}/bias", f"{path}/bias"),
  )


def _norm(published: str, path: str) -> tuple[Rule, Rule]:
  return (
    Rule(f"{published}/scale", f"{path}/scale"),
    Rule(f"{published}/bias", f"{path}/bias"),
  )


def build(config: Mapping[str, Any]) -> ViT:
  """Raises a `UserError`: the original release has no config.json."""
  raise UserError(
    "expected a model for the weights of an .npz file",
    "got none: the original release has no config.json",
    "create the model by name, and load the file by transfer.load_pretrained",
  )


def describe(model: ViT) -> dict[str, Any]:
  """Raises a `UserError`: the original release has no config.json."""
  raise UserError(
    "expected a family whose weights can be written",
    "got 'npz/vit', which is only read",
    "choose family='vit' or family='timm/vit'",
  )


FAMILY = Family(
  rules,
  build,
  describe,
  model=ViT,
  resize=hf_vit.resize("bilinear"),
  optional=hf_vit.OPTIONAL_LAYERS,
)

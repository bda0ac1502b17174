"""Llama, SmolLM and Qwen 2 in transformers: names and config.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import check_choice
from dlcore.models.llama import Llama
from dlcore.transfer.families.config_fields import OPTIONAL, Field, or_field
from dlcore.transfer.families.family import Family, token_inputs
from dlcore.transfer.families.hf_config import ACTIVATION, CLASSES, HfConfig
from dlcore.transfer.families.layer_rules import attention, embedding
from dlcore.transfer.families.name_rules import DENSE, Rule

SCALING = (
  "factor",
  "low_freq_factor",
  "high_freq_factor",
  "original_max_position_embeddings",
)
"""Entries of a `rope_scaling` of type "llama3", in the order of the field."""


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns the rotary parameters; version 5 of transformers renames them."""
  return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _load_scaling(_, config: Mapping[str, Any]) -> tuple[float, ...]:
  rope = _rope(config)
  kind = rope.get("rope_type") or rope.get("type") or "default"
  check_choice("rope_type", kind, ("default", "llama3"))
  return () if kind == "default" else tuple(rope[name] for name in SCALING)


def _save_scaling(scaling: tuple[float, ...], _) -> dict[str, Any] | None:
  if not scaling:
    return None
  return {"rope_type": "llama3", **dict(zip(SCALING, scaling, strict=True))}


def _save_head_dim(head_dim: int, model: Llama) -> int:
  return head_dim or model.width // model.num_heads


FIELDS = (
  Field("tie_word_embeddings", "tie_embeddings", False),
  Field("vocab_size", "vocab_size"),
  Field("hidden_size", "width"),
  Field("num_hidden_layers", "depth"),
  Field("num_attention_heads", "num_heads"),
  Field(
    "num_key_value_heads",
    "num_kv_heads",
    None,
    OPTIONAL[0],
    or_field("num_heads"),
  ),
  Field("intermediate_size", "mlp_dim"),
  Field("max_position_embeddings", "max_length", 2048),
  Field("hidden_act", "activation", "silu", *ACTIVATION),
  Field(
    "rope_theta",
    "rope_theta",
    10_000.0,
    lambda theta, config: _rope(config).get("rope_theta") or theta,
  ),
  Field("rope_scaling", "rope_scaling", None, _load_scaling, _save_scaling),
  Field("rms_norm_eps", "eps", 1e-6),
  Field("attention_dropout", "attention_dropout", 0.0),
  *CLASSES,
)

SUPPORTED = {"mlp_bias": False, "use_sliding_window": False}


def _architectures(name: str) -> dict[str, dict[str, str | None]]:
  return {
    f"{name}ForCausalLM": {"head": "lm"},
    f"{name}Model": {"head": None},
    f"{name}ForSequenceClassification": {"head": "classifier"},
  }


LLAMA = HfConfig(
  Llama,
  "llama",
  _architectures("Llama"),
  (
    *FIELDS,
    Field("head_dim", "head_dim", None, OPTIONAL[0], _save_head_dim),
    Field("attention_bias", "qkv_bias", False),
    Field("attention_bias", "out_bias", False),
  ),
  prefix="model.",
  supported=SUPPORTED,
)
QWEN2 = HfConfig(
  Llama,
  "qwen2",
  _architectures("Qwen2"),
  (
    *FIELDS,
    Field(
      "head_dim",
      "head_dim",
      None,
      OPTIONAL[0],
      # Qwen2Config has no such entry of its own.
      lambda head_dim, model: (
        head_dim if head_dim * model.num_heads not in (0, model.width) else None
      ),
    ),
  ),
  prefix="model.",
  constants={"qkv_bias": True, "out_bias": False},
  supported=SUPPORTED,
)


def rules(model: Llama, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`."""
  layer, block = f"{base}layers.{{i}}", "params/block_{i}"
  projections = [f"{layer}.self_attn.{name}_proj" for name in "qkvo"]
  feedforward = (
    Rule(
      f"{layer}.mlp.{published}_proj.weight",
      f"{block}/feedforward/{name}/kernel",
      DENSE,
    )
    for name, published in (("gate", "gate"), ("in", "up"), ("out", "down"))
  )
  return (
    embedding(f"{base}embed_tokens", "word"),
    _scale(f"{layer}.input_layernorm", f"{block}/attention_norm"),
    *attention(projections, f"{block}/attention"),
    _scale(f"{layer}.post_attention_layernorm", f"{block}/feedforward_norm"),
    *feedforward,
    _scale(f"{base}norm", "params/norm"),
    *_heads(model),
  )


def _heads(model: Llama) -> tuple[Rule, Rule]:
  """Returns the rules of the output layer, and of the other kind of head."""
  if model.head == "lm" and model.tie_embeddings:
    scores = embedding("lm_head", "word")
  else:
    layer = "other_head" if model.head == "classifier" else "head"
    scores = Rule("lm_head.weight", f"params/{layer}/kernel", DENSE)
  layer = "head" if model.head == "classifier" else "other_head"
  return scores, Rule("score.weight", f"params/{layer}/kernel", DENSE)


def _scale(published: str, path: str) -> Rule:
  return Rule(f"{published}.weight", f"{path}/scale")


def _family(config: HfConfig) -> Family:
  return config.family(
    rules,
    ignored=r"(^|\.)rotary_emb\.inv_freq$",
    inputs=token_inputs,
    # The head that only a model of the other kind has.
    optional=r"^params/other_head/",
  )


FAMILY = _family(LLAMA)

QWEN2_FAMILY = _family(QWEN2)
"""Models with biases in query, key and value only. Their names are Llama's, so
weights without a config.json are taken for those of a Llama, which load alike.
"""

"""Marian in transformers, such as OPUS-MT: names and config.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.models.transformer import Transformer
from dlcore.transfer.families.config_fields import Field, or_field
from dlcore.transfer.families.family import token_inputs
from dlcore.transfer.families.hf_config import ACTIVATION, HfConfig
from dlcore.transfer.families.layer_rules import (
  attention,
  dense,
  embedding,
  norm,
)
from dlcore.transfer.families.name_rules import Layout, Rule


def _load_target(is_shared: bool, config: Mapping[str, Any]) -> int:
  """Returns the vocabulary of the decoder, 0 if both share one."""
  if is_shared:
    return 0
  return config.get("decoder_vocab_size") or config["vocab_size"]


def _last_token(_, model: Transformer) -> int:
  """Returns the id for padding, as in the models of OPUS-MT.

  The class of transformers rejects an id outside the vocabulary.
  """
  return min(model.vocab_size, model.target_vocab_size or model.vocab_size) - 1


CONFIG = HfConfig(
  Transformer,
  "marian",
  architectures={
    "MarianMTModel": {"head": "lm"},
    "MarianModel": {"head": None},
  },
  prefix="model.",
  fields=(
    # Written only: the last row of a field is read.
    Field("pad_token_id", "vocab_size", None, save=_last_token),
    Field("decoder_start_token_id", "vocab_size", None, save=_last_token),
    Field("eos_token_id", "vocab_size", None, save=lambda *_: 0),
    Field("forced_eos_token_id", "vocab_size", None, save=lambda *_: 0),
    Field(
      "decoder_vocab_size",
      "target_vocab_size",
      None,
      save=or_field("vocab_size"),
    ),
    Field("vocab_size", "vocab_size"),
    Field(
      "share_encoder_decoder_embeddings",
      "target_vocab_size",
      True,
      _load_target,
      lambda target, _: not target,
    ),
    Field("d_model", "width"),
    Field("encoder_layers", "depth"),
    Field("decoder_layers", "decoder_depth", save=or_field("depth")),
    Field("encoder_attention_heads", "num_heads"),
    Field(
      "decoder_attention_heads",
      "decoder_num_heads",
      save=or_field("num_heads"),
    ),
    Field("encoder_ffn_dim", "mlp_dim"),
    Field("decoder_ffn_dim", "decoder_mlp_dim", save=or_field("mlp_dim")),
    Field("max_position_embeddings", "max_length", 1024),
    Field("activation_function", "activation", "gelu", *ACTIVATION),
    Field("scale_embedding", "scale_embeddings", False),
    Field("dropout", "dropout", 0.1),
    Field("attention_dropout", "attention_dropout", 0.0),
    Field("activation_dropout", "activation_dropout", 0.0),
  ),
  constants={
    "pre_norm": False,
    "sines_first": True,
    "logits_bias": True,
    "eps": 1e-5,
  },
  supported={
    "is_encoder_decoder": True,
    "tie_word_embeddings": True,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
  },
)

ROW = Layout(lambda array: (array[0],), lambda arrays: arrays[0][None])
"""`[1, V]` to `[V]`."""


def rules(model: Transformer, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`."""
  if not model.target_vocab_size:
    tables = {"shared": "word"}
  else:
    tables = {"encoder.embed_tokens": "word", "decoder.embed_tokens": "target"}
  return (
    *(embedding(f"{base}{key}", name) for key, name in tables.items()),
    *_tied(base, model),
    *_layer(f"{base}encoder", "params/encoder"),
    *_layer(f"{base}decoder", "params/decoder"),
    Rule("final_logits_bias", "params/logits_bias", ROW),
  )


def _tied(base: str, model: Transformer) -> tuple[Rule, ...]:
  """Returns the other published names of the shared embedding tables."""
  sides = [f"{base}encoder.embed_tokens", f"{base}decoder.embed_tokens"]
  names = [] if model.target_vocab_size else sides
  names = [*names, *(["lm_head"] if model.head else [])]
  table = "target" if model.target_vocab_size else "word"
  return tuple(embedding(name, table) for name in names)


def _layer(published: str, path: str) -> tuple[Rule, ...]:
  layer, block = f"{published}.layers.{{i}}", f"{path}/block_{{i}}"
  self_, cross = (
    [f"{layer}.{part}.{name}_proj" for name in ("q", "k", "v", "out")]
    for part in ("self_attn", "encoder_attn")
  )
  return (
    *attention(self_, f"{block}/attention"),
    *attention(cross, f"{block}/cross_attention"),
    *norm(f"{layer}.self_attn_layer_norm", f"{block}/attention_norm"),
    *norm(f"{layer}.encoder_attn_layer_norm", f"{block}/cross_attention_norm"),
    *dense(f"{layer}.fc1", f"{block}/feedforward/in"),
    *dense(f"{layer}.fc2", f"{block}/feedforward/out"),
    *norm(f"{layer}.final_layer_norm", f"{block}/feedforward_norm"),
  )


FAMILY = CONFIG.family(
  rules,
  # Sinusoidal positions, and shared embedding tables.
  ignored=r"(^|\.)(encoder|decoder)\.embed_(positions|tokens)\.weight$"
  r"|^lm_head\.weight$",
  inputs=token_inputs,
)

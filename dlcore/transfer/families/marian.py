"""Marian as transformers names it, such as the models of OPUS-MT."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError
from dlcore.models.transformer import Transformer
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family, texts
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import Layout, Rule

PREFIX = "model."

# Sines, and tables that are shared.
IGNORED = (
  r"(^|\.)(encoder|decoder)\.embed_(positions|tokens)\.weight$"
  r"|^lm_head\.weight$"
)

ARCHITECTURES = {"MarianMTModel": "lm", "MarianModel": None}

ROW = Layout(lambda array: (array[0],), lambda arrays: arrays[0][None])
"""`[1, V]` to `[V]`."""


def rules(model: Transformer) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head."""
  base = PREFIX if model.head else ""
  if not model.target_vocabulary:
    tables = {"shared": "word"}
  else:
    tables = {"encoder.embed_tokens": "word", "decoder.embed_tokens": "target"}
  return (
    *(
      Rule(f"{base}{theirs}.weight", f"params/{ours}_embedding/embedding")
      for theirs, ours in tables.items()
    ),
    *_tied(base, model),
    *_layer(f"{base}encoder", "params/encoder"),
    *_layer(f"{base}decoder", "params/decoder"),
    Rule("final_logits_bias", "params/logits_bias", ROW),
  )


def _tied(base: str, model: Transformer) -> tuple[Rule, ...]:
  """Returns the other names of the tables, which are shared."""
  sides = [f"{base}encoder.embed_tokens", f"{base}decoder.embed_tokens"]
  names = [] if model.target_vocabulary else sides
  names = [*names, *(["lm_head"] if model.head else [])]
  ours = "target" if model.target_vocabulary else "word"
  path = f"params/{ours}_embedding/embedding"
  return tuple(Rule(f"{name}.weight", path) for name in names)


def _layer(theirs: str, ours: str) -> tuple[Rule, ...]:
  layer, block = f"{theirs}.layers.{{i}}", f"{ours}/block_{{i}}"
  attention = (
    rule
    for part, name in (
      ("self_attn", "attention"),
      ("encoder_attn", "cross_attention"),
    )
    for projection in ("query", "key", "value", "out")
    for rule in dense(
      f"{layer}.{part}.{'out' if projection == 'out' else projection[0]}_proj",
      f"{block}/{name}/{projection}",
    )
  )
  return (
    *attention,
    *norm(f"{layer}.self_attn_layer_norm", f"{block}/attention_norm"),
    *norm(f"{layer}.encoder_attn_layer_norm", f"{block}/cross_attention_norm"),
    *dense(f"{layer}.fc1", f"{block}/feedforward/in"),
    *dense(f"{layer}.fc2", f"{block}/feedforward/out"),
    *norm(f"{layer}.final_layer_norm", f"{block}/feedforward_norm"),
  )


def build(config: Mapping[str, Any]) -> Transformer:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  parts.fixed(
    config,
    tie_word_embeddings=True,
    normalize_before=False,
    normalize_embedding=False,
    add_final_layer_norm=False,
  )
  target = 0
  if not config.get("share_encoder_decoder_embeddings", True):
    target = config.get("decoder_vocab_size") or config["vocab_size"]
  return Transformer(
    head=parts.head(config, ARCHITECTURES),
    vocabulary=config["vocab_size"],
    target_vocabulary=target,
    width=config["d_model"],
    depth=config["encoder_layers"],
    target_depth=config["decoder_layers"],
    heads=config["encoder_attention_heads"],
    target_heads=config["decoder_attention_heads"],
    hidden=config["encoder_ffn_dim"],
    target_hidden=config["decoder_ffn_dim"],
    length=config.get("max_position_embeddings", 1024),
    activation=parts.activation(config.get("activation_function", "gelu")),
    scaled=config.get("scale_embedding", False),
    halves=True,
    bias=True,
    epsilon=1e-5,
    dropout=config.get("dropout", 0.1),
    attention_dropout=config.get("attention_dropout", 0.0),
    activation_dropout=config.get("activation_dropout", 0.0),
  )


def config(model: Transformer) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model.

  Raises:
    UserError: transformers has no such model under this name.
  """
  known = {"pre_norm": False, "halves": True, "bias": True, "epsilon": 1e-5}
  for name, value in known.items():
    if getattr(model, name) != value:
      raise UserError(
        f"expected {name}={value!r}, as Marian has it",
        f"got {getattr(model, name)!r}",
        parts.UNKNOWN,
      )
  last = min(model.vocabulary, model.target_vocabulary or model.vocabulary) - 1
  return {
    "architectures": [parts.architecture(model.head, ARCHITECTURES)],
    "model_type": "marian",
    "is_encoder_decoder": True,
    # As in all of OPUS-MT; the class refuses a padding that is no word.
    "pad_token_id": last,
    "decoder_start_token_id": last,
    "eos_token_id": 0,
    "forced_eos_token_id": 0,
    "vocab_size": model.vocabulary,
    "decoder_vocab_size": model.target_vocabulary or model.vocabulary,
    "share_encoder_decoder_embeddings": not model.target_vocabulary,
    "d_model": model.width,
    "encoder_layers": model.depth,
    "decoder_layers": model.target_depth or model.depth,
    "encoder_attention_heads": model.heads,
    "decoder_attention_heads": model.target_heads or model.heads,
    "encoder_ffn_dim": model.hidden,
    "decoder_ffn_dim": model.target_hidden or model.hidden,
    "max_position_embeddings": model.length,
    "activation_function": parts.published_activation(model.activation),
    "scale_embedding": model.scaled,
    "dropout": model.dropout,
    "attention_dropout": model.attention_dropout,
    "activation_dropout": model.activation_dropout,
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  ignored=IGNORED,
  inputs=texts,
  prefix=PREFIX,
  model=Transformer,
)

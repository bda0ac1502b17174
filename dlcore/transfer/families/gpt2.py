"""GPT-2 as transformers names it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.models.gpt2 import GPT2
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family, texts
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import DENSE, SAME, Rule, fused

PREFIX = "transformer."

# Masks, and the head, which is the table of the words.
IGNORED = r"(^|\.)h\.\d+\.attn\.(masked_)?bias$|^lm_head\.weight$"

ARCHITECTURES = {
  "GPT2LMHeadModel": "lm",
  "GPT2Model": None,
  "GPT2ForSequenceClassification": "classifier",
}


def rules(model: GPT2) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head.

  Kernels are `[in, out]` there too; those of queries, keys and values are one.
  """
  base = PREFIX if model.head else ""
  layer, block = f"{base}h.{{i}}", "params/block_{i}"
  kernels, biases = (
    tuple(
      f"{block}/attention/{name}/{kind}" for name in ("query", "key", "value")
    )
    for kind in ("kernel", "bias")
  )
  return (
    Rule(f"{base}wte.weight", "params/word_embedding/embedding"),
    Rule(f"{base}wpe.weight", "params/position_embedding/embedding"),
    *norm(f"{layer}.ln_1", f"{block}/attention_norm"),
    Rule(f"{layer}.attn.c_attn.weight", kernels, fused(3, 1)),
    Rule(f"{layer}.attn.c_attn.bias", biases, fused(3, 0)),
    *dense(f"{layer}.attn.c_proj", f"{block}/attention/out", SAME),
    *norm(f"{layer}.ln_2", f"{block}/feedforward_norm"),
    *dense(f"{layer}.mlp.c_fc", f"{block}/feedforward/in", SAME),
    *dense(f"{layer}.mlp.c_proj", f"{block}/feedforward/out", SAME),
    *norm(f"{base}ln_f", "params/norm"),
    Rule("score.weight", "params/head/kernel", DENSE),
    *([TIED] if model.head == "lm" else []),
  )


TIED = Rule("lm_head.weight", "params/word_embedding/embedding")
"""The other name of what the output layer shares."""


def build(config: Mapping[str, Any]) -> GPT2:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  parts.fixed(
    config,
    scale_attn_weights=True,
    scale_attn_by_inverse_layer_idx=False,
    add_cross_attention=False,
    tie_word_embeddings=True,
  )
  return GPT2(
    num_classes=parts.classes(config),
    head=parts.head(config, ARCHITECTURES),
    vocabulary=config.get("vocab_size", 50_257),
    width=config.get("n_embd", 768),
    depth=config.get("n_layer", 12),
    heads=config.get("n_head", 12),
    hidden=config.get("n_inner") or 0,
    length=config.get("n_positions", 1024),
    activation=parts.activation(config.get("activation_function", "gelu_new")),
    epsilon=config.get("layer_norm_epsilon", 1e-5),
    dropout=config.get("resid_pdrop", 0.1),
    attention_dropout=config.get("attn_pdrop", 0.1),
  )


def config(model: GPT2) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model."""
  return {
    "architectures": [parts.architecture(model.head, ARCHITECTURES)],
    "model_type": "gpt2",
    "vocab_size": model.vocabulary,
    "n_embd": model.width,
    "n_layer": model.depth,
    "n_head": model.heads,
    "n_inner": model.hidden or None,
    "n_positions": model.length,
    "activation_function": parts.published_activation(model.activation),
    "layer_norm_epsilon": model.epsilon,
    "embd_pdrop": model.dropout,
    "resid_pdrop": model.dropout,
    "attn_pdrop": model.attention_dropout,
    **parts.labels(model.num_classes),
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  ignored=IGNORED,
  inputs=texts,
  prefix=PREFIX,
  model=GPT2,
)

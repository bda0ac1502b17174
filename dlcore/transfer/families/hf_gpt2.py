"""GPT-2 in transformers: names and config.json."""

from collections.abc import Sequence

from dlcore.models.field_checks import inherited
from dlcore.models.gpt2 import GPT2
from dlcore.transfer.families.config_fields import OPTIONAL, Field
from dlcore.transfer.families.family import token_inputs
from dlcore.transfer.families.hf_config import ACTIVATION, CLASSES, HfConfig
from dlcore.transfer.families.layer_rules import (
  dense,
  embedding,
  fused_attention,
  norm,
)
from dlcore.transfer.families.name_rules import DENSE, SAME, Rule, fused

CONFIG = HfConfig(
  GPT2,
  "gpt2",
  architectures={
    "GPT2LMHeadModel": {"head": "lm"},
    "GPT2Model": {"head": None},
    "GPT2ForSequenceClassification": {"head": "classifier"},
  },
  prefix="transformer.",
  fields=(
    Field("vocab_size", "vocab_size", 50_257),
    Field("n_embd", "width", 768),
    Field("n_layer", "depth", 12),
    Field("n_head", "num_heads", 12),
    Field("n_inner", "mlp_dim", None, *OPTIONAL),
    Field("n_positions", "max_length", 1024),
    Field("activation_function", "activation", "gelu_new", *ACTIVATION),
    Field("layer_norm_epsilon", "eps", 1e-5),
    Field("resid_pdrop", "dropout", 0.1),
    Field(
      "embd_pdrop",
      "embedding_dropout",
      0.1,
      lambda rate, config: (
        -1.0 if rate == config.get("resid_pdrop", 0.1) else rate
      ),
      lambda rate, model: inherited(rate, model.dropout),
    ),
    Field("attn_pdrop", "attention_dropout", 0.1),
    *CLASSES,
  ),
  supported={
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
  },
)


def rules(model: GPT2, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`.

  Published kernels are `[in, out]`, like the model's. Those of query, key and
  value are one array.
  """
  layer, block = f"{base}h.{{i}}", "params/block_{i}"
  return (
    embedding(f"{base}wte", "word"),
    embedding(f"{base}wpe", "position"),
    *norm(f"{layer}.ln_1", f"{block}/attention_norm"),
    *fused_attention(f"{layer}.attn.c_attn", f"{block}/attention", fused(3, 1)),
    *dense(f"{layer}.attn.c_proj", f"{block}/attention/out", SAME),
    *norm(f"{layer}.ln_2", f"{block}/feedforward_norm"),
    *dense(f"{layer}.mlp.c_fc", f"{block}/feedforward/in", SAME),
    *dense(f"{layer}.mlp.c_proj", f"{block}/feedforward/out", SAME),
    *norm(f"{base}ln_f", "params/norm"),
    Rule("score.weight", "params/head/kernel", DENSE),
    *([TIED] if model.head == "lm" else []),
  )


TIED = embedding("lm_head", "word")
"""Published name of the embedding table as the output layer."""

FAMILY = CONFIG.family(
  rules,
  # Causal masks, and the output layer, which is the embedding table.
  ignored=r"(^|\.)h\.\d+\.attn\.(masked_)?bias$|^lm_head\.weight$",
  inputs=token_inputs,
)

"""DistilBERT in transformers: names and config.json."""

from collections.abc import Sequence

from dlcore.models.bert import Bert
from dlcore.transfer.families.config_fields import Field, mlp_dim
from dlcore.transfer.families.family import token_inputs
from dlcore.transfer.families.hf_bert import (
  OPTIONAL_LAYERS,
  POOLER,
  POSITION_IDS,
)
from dlcore.transfer.families.hf_config import ACTIVATION, CLASSES, HfConfig
from dlcore.transfer.families.layer_rules import (
  attention,
  dense,
  embedding,
  norm,
)
from dlcore.transfer.families.name_rules import Rule

CONFIG = HfConfig(
  Bert,
  "distilbert",
  architectures={
    "DistilBertModel": {"head": None},
    "DistilBertForSequenceClassification": {"head": "classifier"},
    "DistilBertForTokenClassification": {"head": "tokens"},
    "DistilBertForMaskedLM": {"head": "mlm"},
  },
  prefix="distilbert.",
  fields=(
    Field("vocab_size", "vocab_size", 30_522),
    Field("dim", "width", 768),
    Field("n_layers", "depth", 6),
    Field("n_heads", "num_heads", 12),
    Field("hidden_dim", "mlp_dim", 3072, save=mlp_dim),
    Field("max_position_embeddings", "max_length", 512),
    Field("activation", "activation", "gelu", *ACTIVATION),
    Field("dropout", "dropout", 0.1),
    Field("attention_dropout", "attention_dropout", 0.1),
    Field("seq_classif_dropout", "head_dropout", 0.2),
    *CLASSES,
  ),
  constants={
    "num_token_types": 0,
    "pooler": False,
    "pooler_activation": "relu",
    **POOLER,
    "eps": 1e-12,  # Of all norms; config.json has no entry for it.
  },
  tied_head="mlm",
)


def rules(model: Bert, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`."""
  layer, block = f"{base}transformer.layer.{{i}}", "params/block_{i}"
  projections = [f"{layer}.attention.{n}_lin" for n in ("q", "k", "v", "out")]
  return (
    embedding(f"{base}embeddings.word_embeddings", "word"),
    embedding(f"{base}embeddings.position_embeddings", "position"),
    *norm(f"{base}embeddings.LayerNorm", "params/embedding_norm"),
    *attention(projections, f"{block}/attention"),
    *norm(f"{layer}.sa_layer_norm", f"{block}/attention_norm"),
    *dense(f"{layer}.ffn.lin1", f"{block}/feedforward/in"),
    *dense(f"{layer}.ffn.lin2", f"{block}/feedforward/out"),
    *norm(f"{layer}.output_layer_norm", f"{block}/feedforward_norm"),
    *dense("pre_classifier", "params/pooler"),
    *dense("classifier", "params/head"),
    *dense("vocab_transform", "params/mlm_dense"),
    *norm("vocab_layer_norm", "params/mlm_norm"),
    Rule("vocab_projector.bias", "params/mlm_bias"),
    *([TIED] if model.head == "mlm" else []),
  )


TIED = embedding("vocab_projector", "word")
"""Published name of the embedding table as the output layer."""


FAMILY = CONFIG.family(
  rules,
  # The weight of the projector is the embedding table.
  ignored=rf"{POSITION_IDS}|^vocab_projector\.weight$",
  inputs=token_inputs,
  optional=OPTIONAL_LAYERS,
)

"""BERT, MiniLM and similar encoders in transformers: names and config.json."""

from collections.abc import Sequence

from dlcore.models.bert import Bert
from dlcore.transfer.families.config_fields import Field
from dlcore.transfer.families.family import token_inputs
from dlcore.transfer.families.hf_config import (
  ENCODER,
  HfConfig,
  without_missing_pooler,
)
from dlcore.transfer.families.layer_rules import (
  attention,
  dense,
  embedding,
  norm,
)
from dlcore.transfer.families.name_rules import Rule

POSITION_IDS = r"(^|\.)embeddings\.position_ids$"
"""Regex over published names: 0 to `max_length - 1`, not a parameter."""

OPTIONAL_LAYERS = r"^params/(pooler|mlm_\w+)/|^params/mlm_bias$"
"""Layers that some of the published models have in addition to the encoder."""

POOLER = {"poolings": (), "normalize": False}
"""Fields of the classifiers of transformers, which have a pooler."""

CONFIG = HfConfig(
  Bert,
  "bert",
  architectures={
    "BertModel": {"head": None},
    "BertForSequenceClassification": {"head": "classifier"},
    "BertForTokenClassification": {"head": "tokens"},
    "BertForMaskedLM": {"head": "mlm"},
    "BertForPreTraining": {"head": "mlm"},
  },
  prefix="bert.",
  fields=(
    Field("vocab_size", "vocab_size", 30_522),
    *ENCODER,
    Field("max_position_embeddings", "max_length", 512),
    Field("type_vocab_size", "num_token_types", 2, nonzero=True),
    Field("hidden_dropout_prob", "dropout", 0.1),
    Field("attention_probs_dropout_prob", "attention_dropout", 0.1),
    Field(
      "classifier_dropout",
      "head_dropout",
      None,
      lambda rate, config: (
        config.get("hidden_dropout_prob", 0.1) if rate is None else rate
      ),
    ),
  ),
  constants={"pooler_activation": "tanh", **POOLER},
  supported={"position_embedding_type": "absolute", "is_decoder": False},
  tied_head="mlm",
)


def rules(model: Bert, base: str) -> Sequence[Rule]:
  """Returns the name rules of a model; those of its base begin with `base`."""
  return (
    *_embeddings(f"{base}embeddings"),
    *_block(f"{base}encoder.layer.{{i}}", "params/block_{i}"),
    *dense(f"{base}pooler.dense", "params/pooler"),
    *dense("classifier", "params/head"),
    *dense("cls.predictions.transform.dense", "params/mlm_dense"),
    *_norm("cls.predictions.transform.LayerNorm", "params/mlm_norm"),
    Rule("cls.predictions.bias", "params/mlm_bias"),
    *_tied(model),
  )


def _tied(model: Bert) -> tuple[Rule, ...]:
  """Returns the published names of the arrays that the output layer shares."""
  if model.head != "mlm":
    return ()
  published = "cls.predictions.decoder"
  bias = Rule(f"{published}.bias", "params/mlm_bias")
  return embedding(published, "word"), bias


def _embeddings(published: str) -> tuple[Rule, ...]:
  names = ("word", "position", "token_type")
  tables = (embedding(f"{published}.{name}_embeddings", name) for name in names)
  return (*tables, *_norm(f"{published}.LayerNorm", "params/embedding_norm"))


def _block(published: str, path: str) -> tuple[Rule, ...]:
  layers = ("self.query", "self.key", "self.value", "output.dense")
  return (
    *attention(
      [f"{published}.attention.{layer}" for layer in layers],
      f"{path}/attention",
    ),
    *_norm(f"{published}.attention.output.LayerNorm", f"{path}/attention_norm"),
    *dense(f"{published}.intermediate.dense", f"{path}/feedforward/in"),
    *dense(f"{published}.output.dense", f"{path}/feedforward/out"),
    *_norm(f"{published}.output.LayerNorm", f"{path}/feedforward_norm"),
  )


def _norm(published: str, path: str) -> tuple[Rule, ...]:
  """Returns the rules of current names, then of the oldest published files."""
  return (
    *norm(published, path),
    Rule(f"{published}.gamma", f"{path}/scale"),
    Rule(f"{published}.beta", f"{path}/bias"),
  )


FAMILY = CONFIG.family(
  rules,
  ignored=(
    rf"{POSITION_IDS}"
    # The tied output layer, and the head of next-sentence prediction.
    r"|^cls\.predictions\.decoder\.|^cls\.seq_relationship\."
  ),
  inputs=token_inputs,
  optional=OPTIONAL_LAYERS,
  match_names=without_missing_pooler,
)

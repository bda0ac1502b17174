"""DistilBERT as transformers names it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError
from dlcore.models.bert import Bert
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family, texts
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import Rule

PREFIX = "distilbert."

IGNORED = r"(^|\.)embeddings\.position_ids$|^vocab_projector\.weight$"
"""The weight of the projector is that of the words."""

OPTIONAL = r"^params/(pooler|mlm_\w+)/|^params/mlm_bias$"
"""What some of the published models have beside the encoder."""

ARCHITECTURES = {
  "DistilBertModel": None,
  "DistilBertForSequenceClassification": "classifier",
  "DistilBertForTokenClassification": "tokens",
  "DistilBertForMaskedLM": "mlm",
}
"""Classes of transformers and our heads."""

EPSILON = 1e-12
"""Of all norms; it is no setting there."""


def rules(model: Bert) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head."""
  base = PREFIX if model.head else ""
  layer, block = f"{base}transformer.layer.{{i}}", "params/block_{i}"
  projections = (
    dense(f"{layer}.attention.{theirs}_lin", f"{block}/attention/{ours}")
    for theirs, ours in PROJECTIONS.items()
  )
  return (
    Rule(
      f"{base}embeddings.word_embeddings.weight",
      "params/word_embedding/embedding",
    ),
    Rule(
      f"{base}embeddings.position_embeddings.weight",
      "params/position_embedding/embedding",
    ),
    *norm(f"{base}embeddings.LayerNorm", "params/embedding_norm"),
    *(rule for pair in projections for rule in pair),
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


TIED = Rule("vocab_projector.weight", "params/word_embedding/embedding")
"""The other name of what the output layer shares."""

PROJECTIONS = {"q": "query", "k": "key", "v": "value", "out": "out"}


def build(config: Mapping[str, Any]) -> Bert:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  head = parts.head(config, ARCHITECTURES)
  if head == "mlm":
    parts.fixed(config, tie_word_embeddings=True)
  return Bert(
    num_classes=parts.classes(config),
    head=head,
    vocabulary=config.get("vocab_size", 30_522),
    width=config.get("dim", 768),
    depth=config.get("n_layers", 6),
    heads=config.get("n_heads", 12),
    hidden=config.get("hidden_dim", 3072),
    length=config.get("max_position_embeddings", 512),
    token_types=0,
    pooler=False,
    pooler_activation="relu",
    activation=parts.activation(config.get("activation", "gelu")),
    epsilon=EPSILON,
    dropout=config.get("dropout", 0.1),
    attention_dropout=config.get("attention_dropout", 0.1),
    head_dropout=config.get("seq_classif_dropout", 0.2),
  )


def config(model: Bert) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model.

  Raises:
    UserError: transformers has no such model under this name.
  """
  fixed = (model.token_types, model.pooler_activation, model.epsilon)
  pooled = model.head is None and model.pooler
  if fixed != (0, "relu", EPSILON) or pooled:
    raise UserError(
      "expected a DistilBERT: token_types=0, pooler_activation='relu', "
      f"epsilon={EPSILON} and no pooler without a head",
      f"got {fixed}, pooler={model.pooler}",
      "write it as a 'bert'",
    )
  return {
    "architectures": [parts.architecture(model.head, ARCHITECTURES)],
    "model_type": "distilbert",
    "vocab_size": model.vocabulary,
    "dim": model.width,
    "n_layers": model.depth,
    "n_heads": model.heads,
    "hidden_dim": model.hidden or 4 * model.width,
    "max_position_embeddings": model.length,
    "activation": parts.published_activation(model.activation),
    "dropout": model.dropout,
    "attention_dropout": model.attention_dropout,
    "seq_classif_dropout": model.head_dropout,
    **parts.labels(model.num_classes),
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=Bert,
  ignored=IGNORED,
  inputs=texts,
  prefix=PREFIX,
  optional=OPTIONAL,
)

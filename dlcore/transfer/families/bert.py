"""BERT as transformers names it, with MiniLM and all that is shaped so."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError
from dlcore.models.bert import Bert
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family, texts
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import Rule

PREFIX = "bert."

IGNORED = (
  r"(^|\.)embeddings\.position_ids$"
  # Tied to the words and the bias; and whether two sentences are neighbours.
  r"|^cls\.predictions\.decoder\.|^cls\.seq_relationship\."
)

OPTIONAL = r"^params/(pooler|mlm_\w+)/|^params/mlm_bias$"
"""What some of the published models have beside the encoder."""

ARCHITECTURES = {
  "BertModel": None,
  "BertForSequenceClassification": "classifier",
  "BertForTokenClassification": "tokens",
  "BertForMaskedLM": "mlm",
  "BertForPreTraining": "mlm",
}
"""Classes of transformers and our heads; the first of a head is written."""


def rules(model: Bert) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head."""
  base = PREFIX if model.head else ""
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
  """Returns the other names of what the output layer shares."""
  if model.head != "mlm":
    return ()
  theirs = "cls.predictions.decoder"
  return (
    Rule(f"{theirs}.weight", "params/word_embedding/embedding"),
    Rule(f"{theirs}.bias", "params/mlm_bias"),
  )


def _embeddings(theirs: str) -> tuple[Rule, ...]:
  tables = (
    Rule(
      f"{theirs}.{name}_embeddings.weight", f"params/{name}_embedding/embedding"
    )
    for name in ("word", "position", "token_type")
  )
  return (*tables, *_norm(f"{theirs}.LayerNorm", "params/embedding_norm"))


def _block(theirs: str, ours: str) -> tuple[Rule, ...]:
  inputs = (
    dense(f"{theirs}.attention.self.{name}", f"{ours}/attention/{name}")
    for name in ("query", "key", "value")
  )
  return (
    *(rule for pair in inputs for rule in pair),
    *dense(f"{theirs}.attention.output.dense", f"{ours}/attention/out"),
    *_norm(f"{theirs}.attention.output.LayerNorm", f"{ours}/attention_norm"),
    *dense(f"{theirs}.intermediate.dense", f"{ours}/feedforward/in"),
    *dense(f"{theirs}.output.dense", f"{ours}/feedforward/out"),
    *_norm(f"{theirs}.output.LayerNorm", f"{ours}/feedforward_norm"),
  )


def _norm(theirs: str, ours: str) -> tuple[Rule, ...]:
  """Returns the rules of today, then those of the first published files."""
  return (
    *norm(theirs, ours),
    Rule(f"{theirs}.gamma", f"{ours}/scale"),
    Rule(f"{theirs}.beta", f"{ours}/bias"),
  )


def build(config: Mapping[str, Any]) -> Bert:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  kind = config.get("position_embedding_type", "absolute")
  if kind != "absolute" or config.get("is_decoder", False):
    raise UserError(
      "expected an encoder with absolute positions",
      f"got position_embedding_type={kind!r}, "
      f"is_decoder={config.get('is_decoder', False)}",
      parts.UNKNOWN,
    )
  head = parts.head(config, ARCHITECTURES)
  if head == "mlm":
    parts.fixed(config, tie_word_embeddings=True)
  dropout = config.get("hidden_dropout_prob", 0.1)
  head_dropout = config.get("classifier_dropout")
  return Bert(
    num_classes=parts.classes(config),
    head=head,
    vocabulary=config.get("vocab_size", 30_522),
    width=config.get("hidden_size", 768),
    depth=config.get("num_hidden_layers", 12),
    heads=config.get("num_attention_heads", 12),
    hidden=config.get("intermediate_size", 3072),
    length=config.get("max_position_embeddings", 512),
    token_types=config.get("type_vocab_size", 2),
    activation=parts.activation(config.get("hidden_act", "gelu")),
    epsilon=config.get("layer_norm_eps", 1e-12),
    dropout=dropout,
    attention_dropout=config.get("attention_probs_dropout_prob", 0.1),
    head_dropout=dropout if head_dropout is None else head_dropout,
  )


def config(model: Bert) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model.

  Raises:
    UserError: transformers has no such model under this name.
  """
  if not model.token_types or model.pooler_activation != "tanh":
    raise UserError(
      "expected a BERT, with token types and a pooler that ends in tanh",
      f"got token_types={model.token_types}, "
      f"pooler_activation={model.pooler_activation!r}",
      "write it as a 'distilbert'",
    )
  return {
    "architectures": [parts.architecture(model.head, ARCHITECTURES)],
    "model_type": "bert",
    "vocab_size": model.vocabulary,
    "hidden_size": model.width,
    "num_hidden_layers": model.depth,
    "num_attention_heads": model.heads,
    "intermediate_size": model.hidden or 4 * model.width,
    "max_position_embeddings": model.length,
    "type_vocab_size": model.token_types,
    "hidden_act": parts.published_activation(model.activation),
    "layer_norm_eps": model.epsilon,
    "hidden_dropout_prob": model.dropout,
    "attention_probs_dropout_prob": model.attention_dropout,
    "classifier_dropout": model.head_dropout,
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

"""Llama, SmolLM and Qwen 2 as transformers names them, which is alike."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, lookup
from dlcore.models.llama import Llama
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family, texts
from dlcore.transfer.families.parts import dense
from dlcore.transfer.rules import DENSE, Rule

PREFIX = "model."

IGNORED = r"(^|\.)rotary_emb\.inv_freq$"

OPTIONAL = r"^params/other_head/"
"""What only a model with another head has."""

HEADS = {
  "ForCausalLM": "lm",
  "Model": None,
  "ForSequenceClassification": "classifier",
}
"""What follows the name of the family in that of a class, and our heads."""


def rules(model: Llama) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head."""
  base = PREFIX if model.head else ""
  layer, block = f"{base}layers.{{i}}", "params/block_{i}"
  attention = (
    rule
    for ours, theirs in zip(
      ("query", "key", "value", "out"), "qkvo", strict=True
    )
    for rule in dense(
      f"{layer}.self_attn.{theirs}_proj", f"{block}/attention/{ours}"
    )
  )
  feedforward = (
    Rule(
      f"{layer}.mlp.{theirs}_proj.weight",
      f"{block}/feedforward/{ours}/kernel",
      DENSE,
    )
    for ours, theirs in (("gate", "gate"), ("in", "up"), ("out", "down"))
  )
  return (
    Rule(f"{base}embed_tokens.weight", "params/word_embedding/embedding"),
    _scale(f"{layer}.input_layernorm", f"{block}/attention_norm"),
    *attention,
    _scale(f"{layer}.post_attention_layernorm", f"{block}/feedforward_norm"),
    *feedforward,
    _scale(f"{base}norm", "params/norm"),
    *_heads(model),
  )


def _heads(model: Llama) -> tuple[Rule, Rule]:
  """Returns the rules for the head of a model, and for the other one."""
  if model.head == "lm" and model.tied:
    scores = Rule("lm_head.weight", "params/word_embedding/embedding")
  else:
    ours = "other_head" if model.head == "classifier" else "head"
    scores = Rule("lm_head.weight", f"params/{ours}/kernel", DENSE)
  ours = "head" if model.head == "classifier" else "other_head"
  return scores, Rule("score.weight", f"params/{ours}/kernel", DENSE)


def _scale(theirs: str, ours: str) -> Rule:
  return Rule(f"{theirs}.weight", f"{ours}/scale")


def build(config: Mapping[str, Any]) -> Llama:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  qwen = config["model_type"] == "qwen2"
  parts.fixed(config, mlp_bias=False, use_sliding_window=False)
  biased = config.get("attention_bias", False)
  theta, stretch = _rotary(config)
  return Llama(
    num_classes=parts.classes(config),
    head=parts.head(config, _architectures(qwen)),
    tied=config.get("tie_word_embeddings", False),
    vocabulary=config["vocab_size"],
    width=config["hidden_size"],
    depth=config["num_hidden_layers"],
    heads=config["num_attention_heads"],
    key_value_heads=config.get("num_key_value_heads") or 0,
    head_size=config.get("head_dim") or 0,
    hidden=config["intermediate_size"],
    length=config.get("max_position_embeddings", 2048),
    activation=parts.activation(config.get("hidden_act", "silu")),
    bias=qwen or biased,
    out_bias=biased,
    theta=theta,
    stretch=stretch,
    epsilon=config.get("rms_norm_eps", 1e-6),
    attention_dropout=config.get("attention_dropout", 0.0),
  )


def _rotary(config: Mapping[str, Any]) -> tuple[float, Any]:
  """Returns `theta` and `stretch` of a config, of transformers 4 or 5."""
  found = config.get("rope_parameters") or config.get("rope_scaling") or {}
  theta = found.get("rope_theta") or config.get("rope_theta", 10_000.0)
  kind = found.get("rope_type") or found.get("type") or "default"
  lookup({"default": None, "llama3": None}, kind, "rope_type")
  if kind == "default":
    return theta, ()
  factor, low, high, length = (
    found[name]
    for name in (
      "factor",
      "low_freq_factor",
      "high_freq_factor",
      "original_max_position_embeddings",
    )
  )
  return theta, (factor, low, high, length)


def config(model: Llama) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model.

  With biases of queries, keys and values alone it is a Qwen 2, else a Llama.

  Raises:
    UserError: it is neither.
  """
  qwen = model.bias and not model.out_bias
  if model.out_bias and not model.bias:
    raise UserError(
      "expected biases of all of attention, of all but its output, or of none",
      "got bias=False, out_bias=True",
      parts.UNKNOWN,
    )
  size = model.head_size or model.width // model.heads
  own: dict[str, Any] = {} if qwen else {"attention_bias": model.bias}
  if not qwen or size * model.heads != model.width:
    own["head_dim"] = size
  return {
    "architectures": [parts.architecture(model.head, _architectures(qwen))],
    "model_type": "qwen2" if qwen else "llama",
    "tie_word_embeddings": model.tied,
    "vocab_size": model.vocabulary,
    "hidden_size": model.width,
    "num_hidden_layers": model.depth,
    "num_attention_heads": model.heads,
    "num_key_value_heads": model.key_value_heads or model.heads,
    "intermediate_size": model.hidden,
    "max_position_embeddings": model.length,
    "hidden_act": parts.published_activation(model.activation),
    "rope_theta": model.theta,
    "rope_scaling": _scaling(model),
    "rms_norm_eps": model.epsilon,
    "attention_dropout": model.attention_dropout,
    **own,
    **parts.labels(model.num_classes),
  }


def _scaling(model: Llama) -> dict[str, Any] | None:
  if not model.stretch:
    return None
  factor, low, high, length = model.stretch
  return {
    "rope_type": "llama3",
    "factor": factor,
    "low_freq_factor": low,
    "high_freq_factor": high,
    "original_max_position_embeddings": length,
  }


def _architectures(qwen: bool) -> dict[str, str | None]:
  name = "Qwen2" if qwen else "Llama"
  return {f"{name}{end}": head for end, head in HEADS.items()}


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  ignored=IGNORED,
  inputs=texts,
  prefix=PREFIX,
  optional=OPTIONAL,
  model=Llama,
)

QWEN2 = FAMILY._replace(model=None)
"""What was trained as Qwen 2; the names are Llama's, so it is not guessed."""

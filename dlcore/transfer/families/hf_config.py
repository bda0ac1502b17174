"""The config.json of Hugging Face's transformers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.errors import UserError, lookup, nearest
from dlcore.filesystem import quoted
from dlcore.transfer.families import config_fields
from dlcore.transfer.families.config_fields import Field
from dlcore.transfer.families.family import Family, num_channels
from dlcore.transfer.families.name_rules import Rule

ACTIVATIONS = {
  "gelu": "gelu_exact",
  "gelu_new": "gelu",
  "gelu_pytorch_tanh": "gelu",
  "gelu_fast": "gelu",
  "gelu_python": "gelu_exact",
  "relu": "relu",
  "silu": "silu",
  "swish": "silu",
  "tanh": "tanh",
}
"""Keys of `ACTIVATIONS` by transformers' names. The first one of several
is written."""


def _load_activation(name: str, _) -> str:
  return lookup(ACTIVATIONS, name, "activation of transformers")


def _save_activation(name: str, _) -> str:
  for published, activation in ACTIVATIONS.items():
    if activation == name:
      return published
  raise UserError(
    "expected an activation that transformers has",
    f"got {name!r}",
    nearest(name, ACTIVATIONS.values()),
  )


ACTIVATION = (_load_activation, _save_activation)


def _num_classes(id2label: Any, config: Mapping[str, Any]) -> int:
  # The default of transformers is two classes, which it does not write.
  return config.get("num_labels") or len(id2label or (0, 1))


def _labels(num_classes: int | None, _=None) -> dict[str, str]:
  return {str(i): f"LABEL_{i}" for i in range(num_classes or 2)}


CLASSES = (
  Field(
    "label2id",
    "num_classes",
    None,
    _num_classes,
    lambda n, _: {label: int(i) for i, label in _labels(n).items()},
  ),
  Field("id2label", "num_classes", None, _num_classes, _labels),
)
"""Rows of the number of classes, which label tables express. As in transformers
the labels by id count: the last row is read."""

ENCODER = (
  Field("hidden_size", "width", 768),
  Field("num_hidden_layers", "depth", 12),
  Field("num_attention_heads", "num_heads", 12),
  Field("intermediate_size", "mlp_dim", 3072, save=config_fields.mlp_dim),
  Field("hidden_act", "activation", "gelu", *ACTIVATION),
  Field("layer_norm_eps", "eps", 1e-12),
  *CLASSES,
)
"""Rows that encoders of text and of images share."""


UNSUPPORTED_HEADS = {
  "QuestionAnswering": " and allow='^qa_outputs'",
  "MultipleChoice": "",  # Its names are those of a classifier.
}
"""Additional argument that loads the base of a model with a head that dlcore
lacks, by the end of the name of the class."""


def _unknown_head(name: Any, architectures: Mapping[str, Any]) -> UserError:
  """Returns the error for a class of transformers that dlcore lacks."""
  _, _, head = str(name).rpartition("For")
  others = ", and as allow the names that the next error lists"
  allow = UNSUPPORTED_HEADS.get(head, others)
  return UserError(
    f"expected a head that dlcore has: {', '.join(architectures)}",
    f"got {quoted(name)} in the architectures of config.json",
    f"load the model with another head or without one: pass head=None{allow}",
  )


def without_missing_pooler(model: Any, names: Collection[str]) -> Any:
  """Returns a base without its pooler if none was published."""
  if model.head is None and not any("pooler." in name for name in names):
    return model.clone(pooler=False)
  return model


class HfConfig(NamedTuple):
  """Table of the config.json of one `model_type`."""

  model: type
  """Class of the models."""

  model_type: str

  architectures: Mapping[str, Mapping[str, Any]]
  """Values of `head`, and of the fields that depend on it, by class of
  transformers. The first class is the default if a config.json names none, and
  the first one of a head is written."""

  fields: Sequence[Field]

  prefix: str
  """See `Family`."""

  constants: Mapping[str, Any] = {}
  """Fields of the model that have one value in this family."""

  supported: Mapping[str, Any] = {}
  """Entries of which the model has one value."""

  tied_head: str = ""
  """Head that must share the embedding table, whose `tie_word_embeddings` is
  not a field of the model."""

  first_layer: str = ""
  """Path of the convolution that reads the images."""

  def build(self, config: Mapping[str, Any]) -> Any:
    """Returns the model that a config.json describes.

    Raises:
      UserError: dlcore has no such model.
    """
    names = config.get("architectures") or list(self.architectures)
    if names[0] not in self.architectures:
      raise _unknown_head(names[0], self.architectures)
    of_head = self.architectures[names[0]]
    config_fields.check_entries(config, self.supported)
    if of_head["head"] == self.tied_head:
      config_fields.check_entries(config, {"tie_word_embeddings": True})
    fields = config_fields.load_fields(self.fields, config)
    return self.model(**{**of_head, **self.constants, **fields})

  def with_head(
    self, config: Mapping[str, Any], head: str | None
  ) -> dict[str, Any]:
    """Returns a config.json with the class of another head.

    Raises:
      UserError: transformers has no class with this head.
    """
    return {**config, "architectures": [self._architecture(head)]}

  def _architecture(self, head: str | None) -> str:
    """Returns the first class with a head.

    Raises:
      UserError: there is none.
    """
    heads: dict[str | None, str] = {}
    for name, fields in self.architectures.items():
      heads.setdefault(fields["head"], name)
    if head not in heads:
      known = " or ".join(repr(head) for head in heads)
      raise UserError(
        f"expected head={known} in the family {self.model_type!r}",
        f"got head={head!r}",
        "choose one of these heads",
      )
    return heads[head]

  def describe_inputs(
    self, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
  ) -> Mapping[str, Any]:
    """Returns a config.json with the `num_channels` of images, unless 3."""
    channels = num_channels(arrays, self.first_layer)
    if channels in (None, config.get("num_channels", 3)):
      return config
    return {**config, "num_channels": channels}

  def describe(self, model: Any) -> dict[str, Any]:
    """Returns the config.json from which transformers builds the model.

    Raises:
      UserError: transformers has no such model.
    """
    try:
      name = self._architecture(model.head)
    except UserError as error:
      expected, got, remedy = error.lines
      raise UserError(
        expected, got, f"{remedy}, or family='dlcore' to save the model"
      ) from error
    of_head = self.architectures[name]
    config_fields.check_constants(model, {**of_head, **self.constants})
    return {
      "architectures": [name],
      "model_type": self.model_type,
      **self.supported,
      **config_fields.save_fields(self.fields, model),
    }

  def family(
    self, rules: Callable[[Any, str], Sequence[Rule]], **fields: Any
  ) -> Family:
    """Returns the family of this table.

    Args:
      rules: `(model, prefix of the names of its base) -> rules`.
      **fields: other fields of the family.
    """
    return Family(
      lambda model: rules(model, self.prefix if model.head else ""),
      self.build,
      self.describe,
      model=self.model,
      prefix=self.prefix,
      with_head=self.with_head,
      describe_inputs=self.describe_inputs,
      **fields,
    )

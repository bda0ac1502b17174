"""What families have in common: rules for layers, and words of configs."""

from collections.abc import Mapping
from typing import Any

from dlcore.errors import UserError, lookup, nearest
from dlcore.transfer.rules import DENSE, SAME, Layout, Rule

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
"""Names that transformers has for activations, and ours."""


def activation(name: str) -> str:
  """Returns our name of an activation of transformers."""
  return lookup(ACTIVATIONS, name, "activation of transformers")


def published_activation(name: str) -> str:
  """Returns the name that transformers has for an activation of ours.

  Raises:
    UserError: it has none.
  """
  for theirs, ours in ACTIVATIONS.items():
    if ours == name:
      return theirs
  raise UserError(
    "expected an activation that transformers knows",
    f"got {name!r}",
    nearest(name, ACTIVATIONS.values()),
  )


def dense(theirs: str, ours: str, layout: Layout = DENSE) -> tuple[Rule, Rule]:
  """Returns the rules for kernel and bias of a dense layer."""
  return (
    Rule(f"{theirs}.weight", f"{ours}/kernel", layout),
    Rule(f"{theirs}.bias", f"{ours}/bias"),
  )


def norm(theirs: str, ours: str) -> tuple[Rule, Rule]:
  """Returns the rules for scale and bias of a layer norm."""
  return (
    Rule(f"{theirs}.weight", f"{ours}/scale", SAME),
    Rule(f"{theirs}.bias", f"{ours}/bias", SAME),
  )


def batch_norm(theirs: str, ours: str) -> tuple[Rule, ...]:
  """Returns the rules for parameters and statistics of a batch norm.

  Args:
    theirs: name of the module.
    ours: path of the module, without the collection.
  """
  return (
    Rule(f"{theirs}.weight", f"params/{ours}/scale"),
    Rule(f"{theirs}.bias", f"params/{ours}/bias"),
    Rule(f"{theirs}.running_mean", f"batch_stats/{ours}/mean"),
    Rule(f"{theirs}.running_var", f"batch_stats/{ours}/var"),
  )


def head(config: Mapping[str, Any], architectures: Mapping[str, Any]) -> Any:
  """Returns the head that `architectures` of a config.json names.

  Args:
    config: the published one; without the entry, the first of the table.
    architectures: heads of ours by names of classes.

  Raises:
    UserError: there is no such head.
  """
  names = config.get("architectures") or list(architectures)[:1]
  return lookup(architectures, names[0], "architecture of transformers")


def architecture(head: str | None, architectures: Mapping[str, Any]) -> str:
  """Returns the first class of transformers that has a head of ours."""
  return next(name for name, ours in architectures.items() if ours == head)


def classes(config: Mapping[str, Any]) -> int:
  """Returns the number of classes; a config.json may leave out that of 2."""
  return config.get("num_labels") or len(config.get("id2label") or (0, 1))


def labels(count: int | None) -> dict[str, Any]:
  """Returns what tells the number of classes in a config.json."""
  names = {str(i): f"LABEL_{i}" for i in range(count or 2)}
  return {
    "id2label": names,
    "label2id": {name: int(i) for i, name in names.items()},
  }


UNKNOWN = "such a model is not known here"
"""What can be said to who brings a model that ours cannot be made into."""


def fixed(config: Mapping[str, Any], **settings: Any) -> None:
  """Checks entries of a config.json that we know only one value of.

  Args:
    config: the published one.
    **settings: the value that each entry must have, or else be left out.

  Raises:
    UserError: names the first that differs.
  """
  for name, value in settings.items():
    if config.get(name, value) != value:
      raise UserError(
        f"expected {name}={value!r} in the config.json",
        f"got {config[name]!r}",
        UNKNOWN,
      )

"""Tables that read and write config.json: one row per entry.

A family lists its entries once, and both directions use the list.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dlcore.errors import UserError

UNSUPPORTED = "dlcore has no such model: choose weights of another one"
"""Third line of the error for a model that dlcore cannot represent."""

ANOTHER_FAMILY = "choose another family; 'dlcore' can express every model"
"""Third line of the error for a model that a family cannot express."""

TRAINING = (
  "activation_dropout",
  "attention_dropout",
  "axis_name",
  "block_size",
  "drop_block",
  "dropout",
  "dtype",
  "embedding_dropout",
  "head_dropout",
  "initializer",
  "layer_scale",
  "name",
  "parent",
  "recurrent_dropout",
  "remat",
  "scan",
  "stochastic_depth",
  "unroll",
)
"""Fields of models without an effect on the outputs in evaluation."""

REQUIRED = object()


class Field(NamedTuple):
  """One entry of a published config.json and one field of the model.

  Several rows may read one entry, or set one field: the last one applies.
  """

  key: str
  """Name of the entry."""

  name: str
  """Name of the model's field."""

  default: Any = REQUIRED
  """Value of an absent entry. A required entry that is absent is a KeyError."""

  load: Callable[[Any, Mapping[str, Any]], Any] = lambda value, config: value
  """`(entry, config) -> field`."""

  save: Callable[[Any, Any], Any] = lambda value, model: value
  """`(field, model) -> entry`; None leaves the entry out."""

  nonzero: bool = False
  """Whether the library has no model in which the model's field is 0."""


OPTIONAL = (lambda value, _: value or 0, lambda value, _: value or None)
"""`load` and `save` of a size whose default is null there and 0 here."""

SEQUENCE = (lambda value, _: tuple(value), lambda value, _: list(value))


def or_field(name: str) -> Callable[[Any, Any], Any]:
  """Returns a `save` for a field that defaults to another one if it is 0."""
  return lambda value, model: value or getattr(model, name)


def mlp_dim(value: int, model: Any) -> int:
  """Converts the hidden width of feed-forward layers, by default 4 widths."""
  return value or 4 * model.width


def load_fields(
  rows: Sequence[Field], config: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the fields of the model that a config.json sets.

  Raises:
    UserError: a value is not supported.
    KeyError: a required entry is absent.
  """
  fields = {}
  for row in rows:
    required = row.default is REQUIRED
    entry = config[row.key] if required else config.get(row.key, row.default)
    fields[row.name] = row.load(entry, config)
  return fields


def save_fields(rows: Sequence[Field], model: Any) -> dict[str, Any]:
  """Returns the entries of the config.json of a model.

  Raises:
    UserError: an entry cannot express the model.
  """
  entries: dict[str, Any] = {}
  for row in rows:
    value = getattr(model, row.name)
    if row.nonzero and not value:
      raise UserError(
        f"expected a model with a nonzero {row.name} for this family",
        f"got {row.name}={value!r}",
        f"set {row.name}, or {ANOTHER_FAMILY}",
      )
    entry = row.save(value, model)
    if entries.setdefault(row.key, entry) != entry:
      raise UserError(
        f"expected a model that one value of {row.key} describes",
        f"got the values {entries[row.key]!r} and {entry!r}",
        UNSUPPORTED,
      )
  return {key: entry for key, entry in entries.items() if entry is not None}


def check_entries(
  config: Mapping[str, Any], supported: Mapping[str, Any]
) -> None:
  """Checks entries of a config.json that have one supported value.

  Args:
    config: published config.json.
    supported: that value by entry; the entry may also be absent.

  Raises:
    UserError: an entry has another value.
  """
  for key, value in supported.items():
    if config.get(key, value) != value:
      raise UserError(
        f"expected {key}={value!r} in config.json",
        f"got {config[key]!r}",
        UNSUPPORTED,
      )


def check_constants(model: Any, constants: Mapping[str, Any]) -> None:
  """Checks fields of a model that have one value in a family.

  Raises:
    UserError: a field has another value.
  """
  for name, value in constants.items():
    if getattr(model, name) != value:
      raise UserError(
        f"expected a model with {name}={value!r} for this family",
        f"got {name}={getattr(model, name)!r}",
        f"set {name}, or {ANOTHER_FAMILY}",
      )

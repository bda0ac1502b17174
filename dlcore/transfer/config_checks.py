"""Checks of a config.json, which is not trusted, against weights and model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer.allow_pattern import is_allowed
from dlcore.transfer.families import Family
from dlcore.transfer.families.config_fields import TRAINING

INVALID = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors that invalid values of a config.json raise where they are used."""

MAX_INTEGER = 2**31 - 1

DEPTHS = ("depth", "decoder_depth", "depths", "stages")
"""Fields of models that count blocks."""

WIDTHS = (
  "width",
  "widths",
  "mlp_dim",
  "decoder_mlp_dim",
  "vocab_size",
  "num_heads",
  "head_dim",
)
"""Fields of models that are sizes of arrays or divide one."""

SHAPES = (
  *DEPTHS,
  *(name for name in WIDTHS if name != "num_heads"),
  "batch_norm",
  "bidirectional",
  "channels_mlp_dim",
  "dense",
  "depth_factor",
  "features",
  "grid",
  "head",
  "horizon",
  "image_size",
  "kernel_size",
  "layer_norm",
  "logits_bias",
  "max_length",
  "num_classes",
  "num_token_types",
  "out_bias",
  "patch_size",
  "pooler",
  "qkv_bias",
  "stem_width",
  "target_vocab_size",
  "tokens_mlp_dim",
  "widen",
  "width_factor",
)
"""Fields that change the names or the shapes of arrays, which are checked."""

OF_HEAD = ("poolings", "normalize")
"""Fields that change the outputs of a model with a head alone."""

APPROXIMATE = ("eps",)
"""Fields that change the outputs slightly; a difference is only reported."""


def check_not_quantized(config: Mapping[str, Any]) -> None:
  """Checks that weights are not quantized, whose arrays have other names.

  Raises:
    UserError: the config.json has a `quantization_config`.
  """
  if config.get("quantization_config"):
    raise UserError(
      "expected weights that are not quantized",
      "got a quantization_config in config.json",
      "choose the original weights",
    )


def differences(
  config: Mapping[str, Any], family: Family, model: Any, allow: str
) -> dict[str, str]:
  """Compares the model of a config.json with the one to load weights into.

  Args:
    config: content of the config.json in the folder of the weights.
    family: family of the weights.
    model: the module to load weights into.
    allow: regex over fields that may differ, such as "model.activation"; see
      `load_pretrained`.

  Returns:
    The fields that differ, with both values.

  Raises:
    UserError: the weights belong to a model that computes another function.
  """
  try:
    # Weights of a model with another head may be loaded, so it is left out.
    published = family.build(family.with_head(config, None))
  except INVALID:
    return {}  # An incomplete config.json; only the weights can be checked.
  except UserError as error:
    if is_allowed(allow, "config.json"):
      return {"config.json": " ".join(error.lines)}
    raise UserError(
      error.lines[0],
      " ".join(error.lines[1:]),
      "pass the path of the weights alone, or allow='^config.json$'",
    ) from error
  fields = {
    name: (value, _value(model, name))
    for name, value in compared_fields(published).items()
    if value != _value(model, name)
    and (name != "tie_embeddings" or model.head == "lm")
    and (name not in OF_HEAD or published.head is not None)
  }
  refused = [
    name
    for name in fields
    if name not in APPROXIMATE and not is_allowed(allow, f"model.{name}")
  ]
  if refused:
    expected, got = (
      ", ".join(f"{name}={fields[name][i]!r}" for name in refused)
      for i in (0, 1)
    )
    patterns = "|".join(f"^model.{name}$" for name in refused)
    raise UserError(
      f"expected a model with {expected}, as in config.json",
      f"got {got}",
      f"set the published values, or pass allow='{patterns}'",
    )
  return {
    name: f"{expected!r} published, {value!r} here"
    for name, (expected, value) in fields.items()
  }


def compared_fields(model: Any) -> dict[str, Any]:
  """Returns the fields that change the outputs, but no names or shapes."""
  names = [field.name for field in dataclasses.fields(model)]
  return {
    name: _value(model, name)
    for name in names
    if name not in (*TRAINING, *SHAPES)
  }


def _value(model: Any, name: str) -> Any:
  """Returns a field. A number of heads of 0 stands for `num_heads`."""
  value = getattr(model, name, None)
  return model.num_heads if value == 0 and name.endswith("_heads") else value


def check_integers(config: Mapping[str, Any]) -> None:
  """Checks that all integers in a JSON object are possible sizes of arrays.

  Raises:
    ValueError: an integer is larger than `MAX_INTEGER`.
  """
  values: list[Any] = [config]
  while values:
    containers = [v for v in values if isinstance(v, Mapping | list)]
    for value in values:
      if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"an integer above {MAX_INTEGER:,}: {quoted(value)}")
    values = [
      item
      for container in containers
      for item in (
        container.values() if isinstance(container, Mapping) else container
      )
    ]


def check_sizes(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
  """Rejects a model that is too large for its weights, before it is traced.

  A width requires an array of at least that size, and a block, like each number
  of a list, requires arrays of its own.

  Raises:
    ValueError: a field is larger than the weights permit.
  """
  elements = sum(array.size for array in arrays.values())
  for field in dataclasses.fields(model):
    value = getattr(model, field.name)
    if isinstance(value, tuple):
      check_limit(f"the length of {field.name}", len(value), len(arrays))
    if field.name in DEPTHS and not getattr(model, "scan", False):
      counts = value if isinstance(value, tuple) else (value,)
      blocks = sum(n if isinstance(n, int) else len(n) for n in counts)
      check_limit(field.name, blocks, len(arrays))
    elif field.name in WIDTHS:
      for number in value if isinstance(value, tuple) else (value,):
        check_limit(field.name, number, elements)


def check_limit(name: str, number: int, limit: int) -> None:
  """Checks an upper limit.

  Raises:
    ValueError: the number exceeds the limit.
  """
  if number and number > limit:
    raise ValueError(
      f"{name}={number:,}, which exceeds the {limit:,} of the weights"
    )

"""Creates the model of a config.json, which is not trusted."""

import math
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax

from dlcore.errors import UserError, check_settings
from dlcore.transfer import config_checks
from dlcore.transfer.families import Family
from dlcore.transfer.io.sources import Weights
from dlcore.typing import PyTree

CLASSLESS = (None, "lm", "mlm")
"""Values of a model's field `head` with outputs other than classes."""

INTERNAL = ("name", "parent")
"""Fields of modules that Flax sets."""


def create(
  family: Family,
  weights: Weights,
  folder: str | Path,
  fields: Mapping[str, Any],
) -> tuple[Any, tuple[Any, ...], PyTree]:
  """Returns the model of a config.json, its inputs and the shapes of variables.

  Args:
    family: family of the config.json.
    weights: arrays and config.json of the folder.
    folder: the folder, for messages.
    fields: fields of the model to change.

  Raises:
    UserError: the config.json is invalid or has sizes above the weights'.
  """
  config = weights.config or {}
  try:
    config_checks.check_integers(config)
    config_checks.check_not_quantized(config)
    model = _build(family, config, weights.arrays, fields)
    config_checks.check_sizes(model, weights.arrays)
    inputs = family.inputs(config)
    for example in inputs:
      size = math.prod(example.shape)
      if size > config_checks.MAX_INTEGER:
        raise ValueError(
          f"inputs of shape {example.shape}, which are too large"
        )
    init = partial(model.init, train=False)
    return model, inputs, jax.eval_shape(init, jax.random.key(0), *inputs)
  except config_checks.INVALID as error:
    raise UserError(
      f"expected a valid config.json that matches the weights in {folder}",
      f"got {type(error).__name__}: {error}",
      "download the folder again",
    ) from error


def _build(
  family: Family,
  config: Mapping[str, Any],
  names: Collection[str],
  fields: Mapping[str, Any],
) -> Any:
  """Returns the model of a config.json with some fields changed.

  Args:
    family: family of the config.json.
    config: content of the config.json. If `fields` has a head, it may name one
      that dlcore lacks.
    names: published names.
    fields: fields of the model to change.
  """
  if "head" in fields:
    config = family.with_head(config, fields["head"])
  model = family.build(config)
  check_settings(type(model), fields, type(model).__name__, INTERNAL)
  is_classless = getattr(model, "head", "classifier") in CLASSLESS
  num_classes = fields.get("num_classes")
  if num_classes is not None and "head" not in fields and is_classless:
    return _build(family, config, names, {**fields, "head": "classifier"})
  return family.match_names(model, names).clone(**fields)

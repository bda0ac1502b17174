"""Checks of weights before they are written: a folder must be readable."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.filesystem import first_line, quoted
from dlcore.transfer import (
  array_checks,
  config_checks,
  load_errors,
  stacked_blocks,
)
from dlcore.transfer.config_checks import INVALID
from dlcore.transfer.families import Family, name_rules
from dlcore.transfer.families.own import OWN
from dlcore.transfer.io import safetensors
from dlcore.transfer.selection import SelectedFamily


def check_family(name: str, model_type: str) -> None:
  """Checks that a config.json names the family of the arrays.

  Raises:
    UserError: the model belongs to another family.
  """
  if model_type != name:
    raise UserError(
      f"expected a model of the family {name!r}",
      f"got one of the family {model_type!r}",
      f"choose family={model_type!r}",
    )


def check_all_named(
  selected: SelectedFamily, arrays: Mapping[str, np.ndarray]
) -> None:
  """Checks that the family has a name for every array.

  Args:
    selected: the family and its name rules for the model.
    arrays: the model's arrays by path.

  Raises:
    UserError: there are arrays without a name.
  """
  unnamed = [p for p in arrays if not name_rules.names(selected.rules, p)]
  if unnamed:
    raise UserError(
      f"expected a model whose arrays all have names in {selected.name}",
      f"got others: {load_errors.listed(unnamed)}",
      f"choose family={OWN!r}",
    )


def check_model(
  model: Any,
  arrays: Mapping[str, np.ndarray],
  family: Family,
  config: Mapping[str, Any],
  names: Collection[str],
) -> None:
  """Checks that a config.json describes a model and its arrays.

  Args:
    model: the module, with the fields that its arrays determine.
    arrays: the model's arrays by path.
    family: family of the config.json.
    config: content of the config.json, with the entries of the inputs.
    names: the published names of the arrays.

  Raises:
    UserError: the config.json is invalid or describes another model, or an
      array is missing, additional or of another shape or dtype.
  """
  expected = "expected config to describe the model"
  remedy = "remove the entries of config that describe the model"
  try:
    config_checks.check_integers(config)
    built = family.match_names(family.build(config), names)
    variables = jax.eval_shape(
      partial(built.init, train=False),
      jax.random.key(0),
      *family.inputs(config),
    )
  except (UserError, *INVALID) as error:
    message = (
      "; ".join(error.lines)
      if isinstance(error, UserError)
      else f"{type(error).__name__}: {first_line(error)}"
    )
    raise UserError(
      expected, f"got an invalid value: {message}", remedy
    ) from error
  leaves = trees.flatten(variables)
  slices = stacked_blocks.slices(leaves)
  if differences := load_errors.shape_differences(slices, arrays):
    raise UserError(
      f"expected the variables of the {type(built).__name__} that config.json "
      "describes",
      f"got differences: {load_errors.listed(differences)}",
      "pass the model to which the variables belong, and no entries of config "
      "that contradict it",
    )
  described, actual = (_described(family, m) for m in (built, model))
  if described != actual:
    differences = [
      f"{key}={described.get(key)!r} instead of {actual.get(key)!r}"
      for key in described | actual
      if described.get(key) != actual.get(key)
    ]
    got = f"got differences: {load_errors.listed(differences)}"
    raise UserError(expected, got, remedy)
  for path, part in slices.items():
    dtype = np.dtype(leaves[part.leaf].dtype)
    array_checks.check_dtype(path, arrays[path].dtype, dtype)


def _described(family: Family, model: Any) -> dict[str, Any]:
  """Returns the entries that describe a model, or its fields if none do."""
  return family.describe(model) or config_checks.compared_fields(model)


def check_values(arrays: Mapping[str, np.ndarray]) -> None:
  """Checks that arrays can be written, and that the loader accepts them.

  Args:
    arrays: by published name.

  Raises:
    UserError: safetensors lacks the dtype of an array, or a value is NaN or
      infinite.
  """
  for name, array in arrays.items():
    if array.dtype not in safetensors.NAMES:
      raise UserError(
        f"expected a dtype of safetensors in the array {quoted(name)}",
        f"got {array.dtype}",
        "convert it to float32",
      )
    array_checks.check_finite(name, array)


def check_channels(
  family: Family, config: Mapping[str, Any], channels: int
) -> None:
  """Checks the argument `channels` against the first convolution.

  Raises:
    UserError: the number of channels differs.
  """
  shape = family.inputs(config)[0].shape
  if len(shape) == 4 and shape[-1] != channels:
    raise UserError(
      f"expected channels={shape[-1]}, those of the first convolution",
      f"got {channels}",
      "leave it out",
    )

"""Checks of weights before they are written: a folder must be readable."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.transfer import load_errors, stacked_blocks
from dlcore.transfer.config_checks import INVALID
from dlcore.transfer.families import Family, name_rules
from dlcore.transfer.families.own import OWN
from dlcore.transfer.io import files
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


def check_names(
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


def check_arrays(
  arrays: Mapping[str, np.ndarray],
  family: Family,
  config: Mapping[str, Any],
) -> None:
  """Checks that arrays are those of the model that a config.json describes.

  Args:
    arrays: the model's arrays by path.
    family: family of the config.json.
    config: content of the config.json, with the entries of the inputs.

  Raises:
    UserError: the config.json is invalid, or an array is missing, additional or
      has another shape.
  """
  try:
    model = family.build(config)
    variables = jax.eval_shape(
      partial(model.init, train=False),
      jax.random.key(0),
      *family.inputs(config),
    )
  except (UserError, *INVALID) as error:
    message = (
      "; ".join(error.lines)
      if isinstance(error, UserError)
      else f"{type(error).__name__}: {files.first_line(error)}"
    )
    raise UserError(
      "expected config to describe the model",
      f"got {message}",
      "remove the entries of config that describe the arrays",
    ) from error
  expected = stacked_blocks.slices(trees.flatten(variables))
  if differences := load_errors.shape_differences(expected, arrays):
    raise UserError(
      f"expected the variables of the {type(model).__name__} that config.json "
      "describes",
      f"got others: {load_errors.listed(differences)}",
      "pass the model to which the variables belong, and no entries of config "
      "that contradict it",
    )


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

"""Checks of the types of arguments, which are easily swapped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.transfer.io import sources


def check_path(argument: str, value: Any, signature: str) -> None:
  """Checks that an argument is a path or the name of a source.

  Args:
    argument: name of the argument.
    value: its value.
    signature: the call with its positional arguments, for the message.

  Raises:
    UserError: it is not a string or a `Path`.
  """
  if not isinstance(value, str | Path):
    raise UserError(
      f"expected {argument} to be a path",
      f"got {_type(value)}",
      f"call {signature}",
    )


def check_model(model: Any, signature: str) -> None:
  """Checks that a model is an instance of a Flax module.

  Raises:
    UserError: it is not; see `check_path` for the arguments.
  """
  if isinstance(model, str):
    raise UserError(
      "expected model to be a module",
      f"got the string {quoted(model)}",
      f"create it by models.create(NAME, num_classes=...); call {signature}",
    )
  if isinstance(model, type) or not hasattr(model, "apply"):
    raise UserError(
      "expected model to be a module",
      f"got {_type(model)}",
      f"call {signature}",
    )


def check_variables(variables: Any, signature: str) -> None:
  """Checks that variables are the collections of `model.init`.

  Raises:
    UserError: they are not; see `check_path` for the arguments.
  """
  expected = 'expected variables to be {"params": ..., ...} of model.init'
  if not isinstance(variables, Mapping):
    raise UserError(expected, f"got {_type(variables)}", f"call {signature}")
  if variables and "params" not in variables:
    raise UserError(
      expected,
      f"got the keys {quoted(list(variables))}",
      'pass all variables; parameters alone are {"params": params}',
    )


def check_integer(argument: str, value: Any) -> None:
  """Checks that an argument is a Python or NumPy integer.

  Raises:
    UserError: it is not.
  """
  if not isinstance(value, int | np.integer) or isinstance(value, bool):
    raise UserError(
      f"expected {argument} to be an integer", f"got {quoted(value)}"
    )


def check_entries(argument: str, value: Any) -> None:
  """Checks that an argument is a mapping of entries by name.

  Raises:
    UserError: it is not.
  """
  is_mapping = isinstance(value, Mapping)
  if not is_mapping or not all(isinstance(key, str) for key in value):
    raise UserError(
      f"expected {argument} to be entries of a JSON object by name",
      f"got {quoted(value)}",
      'pass a dict, such as {"eos_token_id": 2}',
    )


def check_published(published: Any) -> None:
  """Checks that an argument is the content of JSON files by file name.

  Raises:
    UserError: it is not, or has other files.
  """
  names = (sources.CONFIG, sources.GENERATION)
  if not isinstance(published, Mapping) or not set(published) <= set(names):
    raise UserError(
      f"expected published to have the keys {' and '.join(map(repr, names))}",
      f"got {quoted(published)}",
      "pass published=transfer.read_published(folder)",
    )
  for name, entries in published.items():
    check_entries(f"published[{name!r}]", entries)


def _type(value: Any) -> str:
  """Returns the type of a value, or the name of a class."""
  if isinstance(value, type):
    return f"the class {value.__name__}"
  return f"a value of type {type(value).__name__}"

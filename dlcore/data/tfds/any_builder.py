"""Loaders of any data set of TensorFlow Datasets, which a setting names."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from dlcore.data.source import Splits


def any_builder(loader: Callable[..., Splits]) -> Callable[..., Splits]:
  """Returns a loader with the keyword argument `builder`.

  Args:
    loader: a function whose first argument, positional only, is `builder`.
  """

  @functools.wraps(loader)
  def load(*, builder: str = "", **settings: Any) -> Splits:
    return loader(builder, **settings)

  # The settings in a config are those of the signature.
  load.__dict__["__signature__"] = inspect.Signature(
    [
      parameter.replace(kind=parameter.KEYWORD_ONLY)
      for parameter in inspect.signature(loader).parameters.values()
    ]
  )
  return load

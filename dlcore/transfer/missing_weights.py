"""Values of the arrays of a model that a source of weights lacks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.transfer import load_errors
from dlcore.transfer.allow_pattern import allow_pattern, is_allowed
from dlcore.transfer.stacked_blocks import LeafSlice


def require_variables(slices: Mapping[str, LeafSlice]) -> Mapping[str, Any]:
  """Raises a `UserError` for arrays that are not loaded and have no values."""
  raise UserError(
    "expected weights for every array of the model",
    f"got none for {load_errors.listed(list(slices))}",
    "call model.init, and pass its variables to transfer.load_pretrained",
  )


class Initializer(NamedTuple):
  """Initializes the arrays of a model that a folder lacks at random."""

  model: Any
  inputs: tuple[jax.ShapeDtypeStruct, ...]
  seed: int

  paths: Collection[str]
  """All paths of the model."""

  allow: str
  """Regex over the paths that may be initialized."""

  allow_all: bool
  """Whether all paths may be initialized."""

  def __call__(self, slices: Mapping[str, LeafSlice]) -> Mapping[str, Any]:
    """Returns the leaves of `model.init` that contain the slices, by path.

    Raises:
      UserError: a path is not allowed.
    """
    refused = [
      path
      for path in slices
      if not (self.allow_all or is_allowed(self.allow, path))
    ]
    if refused:
      raise _not_published(refused, self.paths)
    paths = {part.leaf for part in slices.values()}

    def initialize(key, *inputs):
      leaves = trees.flatten(self.model.init(key, *inputs, train=False))
      return {path: leaves[path] for path in paths}

    inputs = [np.zeros(example.shape, example.dtype) for example in self.inputs]
    return jax.jit(initialize)(jax.random.key(self.seed), *inputs)


def _not_published(
  paths: Sequence[str], model_paths: Iterable[str]
) -> UserError:
  """Returns the error for a head or optional layers that a folder lacks."""
  others = [path for path in model_paths if path not in paths]
  allow = allow_pattern(paths, others)
  advice = f"pass {allow=}, or " if allow else "pass "
  return UserError(
    "expected weights for every array of the model",
    f"got none for {load_errors.listed(paths)}",
    f"to initialize them at random, {advice}num_classes=N for a new output "
    "layer",
  )

"""What reading and writing must know of a family of published weights."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore.transfer.rules import Rule

Resize = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
"""`(array, shape) -> array` of that shape, see `transfer.resize`."""


def texts(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the ids, int32 `[1, 4]`, that a model of texts is initialised with.

  Twice for an encoder and a decoder.

  Args:
    config: the published one.
  """
  ids = jax.ShapeDtypeStruct((1, 4), np.int32)
  return (ids, ids) if config.get("is_encoder_decoder") else (ids,)


def images(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the images, float32 `[1, Y, X, C]`, that others begin with.

  Args:
    config: the published one.
  """
  size = config.get("image_size", 224)
  rows, columns = (size, size) if isinstance(size, int) else size
  channels = config.get("num_channels", 3)
  shape = (1, rows, columns, channels)
  return (jax.ShapeDtypeStruct(shape, np.float32),)


class Family(NamedTuple):
  """A family of models in one library's names."""

  rules: Callable[[Any], Sequence[Rule]]
  """`model -> rules`, with the names that this very model would be published
  under: with a head, those of its base begin with `prefix`."""

  build: Callable[[Mapping[str, Any]], Any]
  """`config -> model`, from the published config.json."""

  config: Callable[[Any], dict[str, Any]]
  """`model -> config`, so that the library's own class loads what we write."""

  ignored: str = ""
  """Regex over published names that are no parameters."""

  prefix: str = ""
  """What the library puts before the names of the base of a model with a
  head. Weights of a base are read into a model with a head, and back."""

  model: type | None = None
  """The class of the modules. Without it the family is never guessed."""

  resize: Mapping[str, Resize] = {}
  """Regex over our paths -> how an array of another shape is brought to ours,
  where that keeps its sense: a position table, say."""

  head: str = r"^params/head/"
  """Regex over our paths of the output layer, which stays as it was drawn
  where none of its shape was published."""

  optional: str = ""
  """Regex over our paths of what else only some of the published models have,
  such as a pooler: it stays as it was drawn where it is not published, and is
  passed over where the model lacks it. It must fit otherwise."""

  inputs: Callable[[Mapping[str, Any]], tuple[Any, ...]] = images
  """`config -> shapes` of the arrays that the model is initialised with."""

"""The description of one family of published weights."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore.transfer.families.name_rules import Rule

Resize = Callable[[np.ndarray, tuple[int, ...]], np.ndarray]
"""`(array, shape) -> array` of that shape; a `ValueError` if it cannot."""


def token_inputs(
  config: Mapping[str, Any],
) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the input of a text model's `init`: token ids, int32 `[1, 4]`.

  An encoder-decoder has two such inputs.

  Args:
    config: published config.json.
  """
  ids = jax.ShapeDtypeStruct((1, 4), np.int32)
  return (ids, ids) if config.get("is_encoder_decoder") else (ids,)


def image_inputs(
  config: Mapping[str, Any],
) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the input of `init`, float32 images `[1, Y, X, C]`.

  Args:
    config: published config.json.
  """
  size = config.get("image_size", 224)
  return images(size, config.get("num_channels", 3))


def images(
  size: int | Sequence[int], channels: int
) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the input of `init`, float32 images `[1, Y, X, C]`.

  Args:
    size: rows and columns, or one number for both.
    channels: C.
  """
  rows, columns = (size, size) if isinstance(size, int) else size
  return (jax.ShapeDtypeStruct((1, rows, columns, channels), np.float32),)


def num_channels(arrays: Mapping[str, np.ndarray], layer: str) -> int | None:
  """Returns the image channels that a convolution reads, None without it.

  Args:
    arrays: the model's arrays by path.
    layer: path of the convolution, without the collection; kernels are
      `[Y, X, C, F]`.
  """
  kernel = arrays.get(f"params/{layer}/kernel")
  return None if kernel is None else kernel.shape[2]


class Family(NamedTuple):
  """A family of models, with the parameter names of one library."""

  rules: Callable[[Any], Sequence[Rule]]
  """`model -> rules`, with the published names of exactly this model: if it has
  a head, the names of its base begin with `prefix`."""

  build: Callable[[Mapping[str, Any]], Any]
  """`config -> model`, from a published config.json."""

  describe: Callable[[Any], dict[str, Any]]
  """`model -> config`, which the library's own class accepts."""

  ignored: str = ""
  """Regex over published names that are not parameters."""

  prefix: str = ""
  """Prefix of the names of the base in a model with a head. Weights of a base
  can be loaded into a model with a head, and the reverse."""

  model: type = object
  """Class of the modules."""

  inferred: bool = True
  """Whether weights without a config.json may be recognized by their names, and
  whether the family is a default of its models in `save_pretrained`."""

  resize: Mapping[str, Resize] = {}
  """Resizing of arrays whose shape differs, such as position tables, by regex
  over the model's paths."""

  output_layer: str = r"^params/head/"
  """Regex over the model's paths of the output layer, which keeps its
  initialization if the source has none of its shape."""

  optional: str = ""
  """Regex over the model's paths of other layers that only some published
  models have, such as a pooler. A missing one keeps its initialization, and an
  additional one is skipped. The shapes must match."""

  inputs: Callable[[Mapping[str, Any]], tuple[Any, ...]] = image_inputs
  """`config -> shapes and dtypes` of the inputs of the model's `init`."""

  has_architecture: Callable[[str], bool] = lambda name: False
  """Whether the family builds an `architecture` of a timm config.json, which
  has no `model_type`."""

  with_head: Callable[[Mapping[str, Any], str | None], Mapping[str, Any]] = (
    lambda config, head: config
  )
  """`(config, head) -> config` for another value of the model's field `head`,
  if other fields depend on it."""

  match_names: Callable[[Any, Collection[str]], Any] = lambda model, names: (
    model
  )
  """`(model, published names) -> model`, without layers that config.json
  implies and that some published files lack."""

  match_arrays: Callable[[Any, Mapping[str, np.ndarray]], Any] = (
    lambda model, arrays: model
  )
  """`(model, arrays by path) -> model`, with fields that only its arrays
  determine, such as the image size of a ViT."""

  describe_inputs: Callable[
    [Mapping[str, Any], Mapping[str, np.ndarray]], Mapping[str, Any]
  ] = lambda config, arrays: config
  """`(config, arrays by path) -> config`, with the entries for the inputs, such
  as the number of image channels, which are not fields of the model."""

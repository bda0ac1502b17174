"""The config.json of timm, which dlcore also writes for torchvision's names.

Its `architecture` is the name of a model with all its sizes. `model_args` has
the arguments that differ from them, and `num_classes` is 0 without a head.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore.errors import UserError, nearest
from dlcore.transfer.families import config_fields
from dlcore.transfer.families.config_fields import (
  ANOTHER_FAMILY,
  TRAINING,
  UNSUPPORTED,
  Field,
)
from dlcore.transfer.families.family import Family, images, num_channels

INPUT = {"img_size", "in_chans"}
"""Arguments that the models infer from the first image."""

NO_EFFECT = {
  "attn_drop_rate",
  "drop_path_rate",
  "drop_rate",
  "dynamic_img_size",
  "patch_drop_rate",
  "pos_drop_rate",
  "proj_drop_rate",
  "strict_img_size",
}
"""Arguments without effect in evaluation of images of the configured size."""

NOT_IN_ARCHITECTURE = {*TRAINING, "head", "num_classes"} - {"layer_scale"}
"""Fields of the models that do not identify an architecture."""


class ArchitectureConfig(NamedTuple):
  """Table of the architectures of one class of models."""

  model: type
  """Class of the models."""

  architectures: Mapping[str, Mapping[str, Any]]
  """Fields by architecture."""

  arguments: Sequence[Field] = ()
  """Rows of `model_args` that may differ from the architecture's."""

  constants: Mapping[str, Any] = {}
  """Fields of the model that have one value in this family."""

  first_layer: str = ""
  """Path of the convolution that reads the images."""

  def has_architecture(self, name: str) -> bool:
    """Returns whether the table has an architecture, of any training recipe."""
    return without_recipe(name) in self.architectures

  def build(self, config: Mapping[str, Any]) -> Any:
    """Returns the model that a config.json describes.

    Raises:
      UserError: dlcore has no such model.
    """
    name = without_recipe(str(config.get("architecture", "")))
    if name not in self.architectures:
      # Without the nearest name: models of similar names differ.
      raise UserError(
        f"expected an architecture among {', '.join(self.architectures)}",
        f"got {name!r}",
        UNSUPPORTED,
      )
    fields = self.architectures[name]
    known = {row.key for row in self.arguments}
    arguments = known_arguments(config, known)
    rows = [row for row in self.arguments if row.key in arguments]
    changed = config_fields.load_fields(rows, arguments)
    return self.model(
      **head_fields(config), **{**self.constants, **fields, **changed}
    )

  def describe(self, model: Any) -> dict[str, Any]:
    """Returns the config.json from which timm builds the model.

    Raises:
      UserError: timm has no such model.
    """
    config_fields.check_constants(model, self.constants)
    changeable = {row.name for row in self.arguments}
    differing = {
      name: self._differing(model, fields)
      for name, fields in self.architectures.items()
    }
    possible = [name for name in differing if differing[name] <= changeable]
    if not possible:
      raise UserError(
        f"expected the sizes of one of {', '.join(self.architectures)}",
        f"got {self._closest(model, differing)}",
        ANOTHER_FAMILY,
      )
    name = min(possible, key=lambda name: len(differing[name]))
    config = {"architecture": name, "num_classes": num_classes(model)}
    if differing[name]:
      arguments = config_fields.save_fields(self.arguments, model)
      config["model_args"] = arguments
    return config

  def _closest(self, model: Any, differing: Mapping[str, set[str]]) -> str:
    """Returns the fields that differ from the closest architecture's."""
    name = min(differing, key=lambda name: len(differing[name]))
    fields = sorted(differing[name] - {row.name for row in self.arguments})
    values = [f"{field}={getattr(model, field)!r}" for field in fields]
    return f"{', '.join(values)}, unlike {name}"

  def _differing(self, model: Any, fields: Mapping[str, Any]) -> set[str]:
    """Returns the names of the fields that differ from an architecture's."""
    other = self.model(**{**self.constants, **fields})
    names = {
      field.name for field in dataclasses.fields(model)
    } - NOT_IN_ARCHITECTURE
    return {n for n in names if getattr(model, n) != getattr(other, n)}

  def family(self, rules: Callable[..., Any], **fields: Any) -> Family:
    """Returns the family of this table and these name rules."""
    fields = {
      "inputs": inputs,
      "model": self.model,
      "has_architecture": self.has_architecture,
      "describe_inputs": self.describe_inputs,
      **fields,
    }
    return Family(rules, self.build, self.describe, **fields)

  def describe_inputs(
    self, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
  ) -> Mapping[str, Any]:
    """Returns a config.json with the argument `in_chans`, unless default."""
    channels = num_channels(arrays, self.first_layer)
    if channels in (None, inputs(config)[0].shape[-1]):
      return config
    return with_arguments(config, in_chans=channels)


def _save_stages(stages: Sequence[int], _) -> list[int]:
  if len(stages) != 4:
    raise UserError("expected four stages", f"got {stages}", ANOTHER_FAMILY)
  return list(stages)


STAGES = (lambda stages, _: tuple(stages), _save_stages)
"""`load` and `save` of the number of blocks of each stage."""


def without_recipe(architecture: str) -> str:
  """Returns an architecture without the training recipe after its dot."""
  return architecture.partition(".")[0]


def with_arguments(config: Mapping[str, Any], **arguments: Any) -> dict:
  """Returns a config.json with additional `model_args`."""
  return {**config, "model_args": {**config.get("model_args", {}), **arguments}}


def effective_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the `model_args` that have an effect, with tuples for lists.

  An argument that is null has its default.
  """
  arguments = config.get("model_args") or {}
  return {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in arguments.items()
    if value is not None and key not in NO_EFFECT
  }


def known_arguments(
  config: Mapping[str, Any], known: Collection[str]
) -> dict[str, Any]:
  """Returns the effective `model_args`, without those of the input.

  Raises:
    UserError: an argument is not in `known`.
  """
  arguments = effective_arguments(config)
  for key in arguments.keys() - INPUT - set(known):
    raise UserError(
      "expected model_args that dlcore supports in config.json",
      f"got {key!r}",
      nearest(key, known),
    )
  return {k: v for k, v in arguments.items() if k in known}


def head_fields(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the model's fields of the head; a model with 0 classes has none."""
  count = config.get("num_classes", 1000)
  return {"num_classes": count or 1, "head": "classifier" if count else None}


def num_classes(model: Any) -> int:
  """Returns the number of classes, 0 without a head."""
  return model.num_classes if model.head else 0


def inputs(config: Mapping[str, Any]) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the input of `init`, float32 images `[1, Y, X, C]`."""
  arguments = effective_arguments(config)
  pretrained = config.get("pretrained_cfg") or {}
  published = pretrained.get("input_size") or (3, 224, 224)
  channels = arguments.get("in_chans", published[0])
  return images(arguments.get("img_size", published[1:]), channels)

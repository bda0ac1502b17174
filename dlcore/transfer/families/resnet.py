"""Residual networks as transformers names them."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError
from dlcore.models.resnet import ResNet
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import batch_norm, dense
from dlcore.transfer.rules import CONV, Rule

PREFIX = "resnet."

IGNORED = r"\.num_batches_tracked$"

ARCHITECTURES = {
  "ResNetForImageClassification": "classifier",
  "ResNetModel": None,
}
"""Classes of transformers and our heads."""

FIXED = {
  "hidden_act": "relu",
  "downsample_in_first_stage": False,
  "downsample_in_bottleneck": False,
}
"""Settings of transformers that have one value here."""


def rules(model: ResNet) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head."""
  base = PREFIX if model.head else ""
  stem = f"{base}embedder.embedder"
  layer = f"{base}encoder.stages.{{i}}.layers.{{j}}"
  block = "stage_{i}_block_{j}"
  return (
    *_layer(stem, "stem/conv", "stem/norm"),
    *_layer(
      f"{layer}.layer.{{k}}", f"{block}/conv_{{k}}", f"{block}/norm_{{k}}"
    ),
    *_layer(
      f"{layer}.shortcut", f"{block}/shortcut_conv", f"{block}/shortcut_norm"
    ),
    *dense("classifier.1", "params/head"),
  )


def _layer(theirs: str, conv: str, norm: str) -> tuple[Rule, ...]:
  return (
    Rule(f"{theirs}.convolution.weight", f"params/{conv}/kernel", CONV),
    *batch_norm(f"{theirs}.normalization", norm),
  )


def build(config: Mapping[str, Any]) -> ResNet:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  for key, only in FIXED.items():
    if config.get(key, only) != only:
      raise UserError(
        f"expected a ResNet with {key}={only!r}",
        f"got {config[key]!r}",
        parts.UNKNOWN,
      )
  block = config.get("layer_type", "bottleneck")
  widths = list(config.get("hidden_sizes", (256, 512, 1024, 2048)))
  width = widths[0] // EXPANSION.get(block, 1)
  doubling = [EXPANSION.get(block, 1) * width << i for i in range(len(widths))]
  if widths != doubling:
    raise UserError(
      f"expected hidden_sizes that double with every stage, such as {doubling}",
      f"got {widths}",
    )
  stem = config.get("embedding_size", 64)
  return ResNet(
    num_classes=parts.classes(config),
    stages=tuple(config.get("depths", (3, 4, 6, 3))),
    width=width,
    stem_width=0 if stem == width else stem,
    block=block,
    head=parts.head(config, ARCHITECTURES),
  )


def config(model: ResNet) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model.

  The number of channels of the images, `num_channels`, is 3 unless one adds
  it: no setting of a model tells it.

  Raises:
    UserError: transformers has no such model.
  """
  plain(model)
  first = EXPANSION[model.block] * model.width
  return {
    "architectures": [parts.architecture(model.head, ARCHITECTURES)],
    "model_type": "resnet",
    "layer_type": model.block,
    "depths": list(model.stages),
    "hidden_sizes": [first << i for i in range(len(model.stages))],
    "embedding_size": model.stem_width or model.width,
    **FIXED,
    **parts.labels(model.num_classes),
  }


def plain(model: ResNet) -> None:
  """Checks that a model is one for large images, as others publish them.

  Raises:
    UserError: it is not.
  """
  if (model.stem, model.shortcut) != ("large", "convolution"):
    raise UserError(
      "expected stem='large' and shortcut='convolution', which is what other "
      "libraries have",
      f"got stem={model.stem!r}, shortcut={model.shortcut!r}",
    )


EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels that leave a block, as a multiple of its width."""


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=ResNet,
  ignored=IGNORED,
  prefix=PREFIX,
)

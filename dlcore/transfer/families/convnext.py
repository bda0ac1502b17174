"""ConvNeXt as transformers names it."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError
from dlcore.models.convnext import ConvNeXt
from dlcore.transfer.families import parts
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import dense, norm
from dlcore.transfer.rules import CONV, Rule

PREFIX = "convnext."

IGNORED = ""

ARCHITECTURES = {
  "ConvNextForImageClassification": "classifier",
  "ConvNextModel": None,
}
"""Classes of transformers and our heads."""


def rules(model: ConvNeXt) -> Sequence[Rule]:
  """Returns the rules for the names of a model, with or without a head."""
  base = PREFIX if model.head else ""
  stem, stage = f"{base}embeddings", f"{base}encoder.stages.{{i}}"
  layer, block = f"{stage}.layers.{{j}}", "params/stage_{i}_block_{j}"
  down, ours = f"{stage}.downsampling_layer", "params/stage_{i}"
  return (
    *dense(f"{stem}.patch_embeddings", "params/stem_conv", CONV),
    *norm(f"{stem}.layernorm", "params/stem_norm"),
    *norm(f"{down}.0", f"{ours}_norm"),
    *dense(f"{down}.1", f"{ours}_conv", CONV),
    *dense(f"{layer}.dwconv", f"{block}/depthwise", CONV),
    *norm(f"{layer}.layernorm", f"{block}/norm"),
    *dense(f"{layer}.pwconv1", f"{block}/dense_0"),
    *dense(f"{layer}.pwconv2", f"{block}/dense_1"),
    Rule(f"{layer}.layer_scale_parameter", f"{block}/layer_scale"),
    *norm(f"{base}layernorm", "params/norm"),
    *dense("classifier", "params/head"),
  )


def build(config: Mapping[str, Any]) -> ConvNeXt:
  """Builds the model that a config.json describes.

  Raises:
    UserError: it asks for what this model has not.
  """
  if config.get("hidden_act", "gelu") != "gelu":
    raise UserError(
      "expected a ConvNeXt with hidden_act='gelu'",
      f"got {config['hidden_act']!r}",
      parts.UNKNOWN,
    )
  return ConvNeXt(
    num_classes=parts.classes(config),
    depths=tuple(config.get("depths") or (3, 3, 9, 3)),
    widths=tuple(config.get("hidden_sizes") or (96, 192, 384, 768)),
    patch_size=config.get("patch_size", 4),
    layer_scale=max(config.get("layer_scale_init_value", 1e-6), 0.0),
    stochastic_depth=config.get("drop_path_rate", 0.0),
    epsilon=config.get("layer_norm_eps", 1e-12),
    head=parts.head(config, ARCHITECTURES),
  )


def config(model: ConvNeXt) -> dict[str, Any]:
  """Returns the config.json with which transformers builds the model.

  The number of channels of the images, `num_channels`, is 3 unless one adds
  it: no setting of a model tells it.

  Raises:
    UserError: transformers has no such model.
  """
  if model.kernel_size != 7:
    raise UserError("expected kernel_size=7", f"got {model.kernel_size}")
  return {
    "architectures": [parts.architecture(model.head, ARCHITECTURES)],
    "model_type": "convnext",
    "num_stages": len(model.depths),
    "depths": list(model.depths),
    "hidden_sizes": list(model.widths),
    "patch_size": model.patch_size,
    "hidden_act": "gelu",
    "layer_scale_init_value": model.layer_scale,
    "layer_norm_eps": model.epsilon,
    "drop_path_rate": model.stochastic_depth,
    **parts.labels(model.num_classes),
  }


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=ConvNeXt,
  ignored=IGNORED,
  prefix=PREFIX,
)

"""EfficientNet-Lite as timm names it, Google's weights ("tf_") and its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, lookup
from dlcore.models.efficientnet import EfficientNetLite
from dlcore.transfer.families import timm
from dlcore.transfer.families.family import Family
from dlcore.transfer.families.parts import batch_norm, dense
from dlcore.transfer.rules import CONV, Rule

IGNORED = r"\.num_batches_tracked$"

SIZES: dict[str, tuple[float, float]] = {
  "efficientnet_lite0": (1.0, 1.0),
  "efficientnet_lite1": (1.0, 1.1),
  "efficientnet_lite2": (1.1, 1.2),
  "efficientnet_lite3": (1.2, 1.4),
  "efficientnet_lite4": (1.4, 1.8),
}
"""Factors of width and depth by architecture."""

GOOGLE = {"padding": "same", "epsilon": 1e-3}
TIMM = {"padding": "symmetric", "epsilon": 1e-5}


def rules(model: EfficientNetLite) -> Sequence[Rule]:
  """Returns the rules; names are the same with and without a head."""
  found = [*_layer("conv_stem", "bn1", "stem")]
  for i, (_, _, _, expansion, _) in enumerate(model.stages):
    block, ours = f"blocks.{i}.{{j}}", f"stage_{i}_block_{{j}}"
    for k, (conv, name) in enumerate(SEPARABLE if expansion == 1 else INVERTED):
      found += _layer(f"{block}.{conv}", f"{block}.bn{k + 1}", f"{ours}/{name}")
  found += _layer("conv_head", "bn2", "last")
  return [*found, *dense("classifier", "params/head")]


INVERTED = (
  ("conv_pw", "expand"),
  ("conv_dw", "depthwise"),
  ("conv_pwl", "project"),
)
SEPARABLE = (("conv_dw", "depthwise"), ("conv_pw", "project"))
"""The convolutions of a block in order, by their name and ours."""


def _layer(conv: str, norm: str, ours: str) -> tuple[Rule, ...]:
  return (
    Rule(f"{conv}.weight", f"params/{ours}/conv/kernel", CONV),
    *batch_norm(norm, f"{ours}/norm"),
  )


def build(config: Mapping[str, Any]) -> EfficientNetLite:
  """Builds the model of an `architecture`, such as "tf_efficientnet_lite0".

  Raises:
    UserError: there is no such model, or `model_args` differ from it.
  """
  name = timm.architecture(config)
  timm.arguments(config, ())
  width, depth = lookup(SIZES, name.removeprefix("tf_"), "EfficientNet-Lite")
  return EfficientNetLite(
    **timm.head(config),
    width_factor=width,
    depth_factor=depth,
    **(GOOGLE if name.startswith("tf_") else TIMM),
  )


def config(model: EfficientNetLite) -> dict[str, Any]:
  """Returns the architecture and the number of classes.

  Raises:
    UserError: timm has no such model.
  """
  head = timm.head({"num_classes": model.num_classes if model.head else 0})
  for prefix in ("tf_", ""):
    for size in SIZES:
      config = {"architecture": prefix + size}
      likeness = build(config).clone(
        stochastic_depth=model.stochastic_depth,
        dropout=model.dropout,
        remat=model.remat,
        dtype=model.dtype,
        axis_name=model.axis_name,
        **head,
      )
      if likeness == model:
        count = model.num_classes if model.head else 0
        return {**config, "num_classes": count}
  raise UserError(
    f"expected the sizes of one of {', '.join(SIZES)}, and "
    f"padding and epsilon of {GOOGLE} or {TIMM}",
    f"got {model}",
  )


FAMILY = Family(
  rules=rules,
  build=build,
  config=config,
  model=EfficientNetLite,
  ignored=IGNORED,
  inputs=timm.inputs,
)

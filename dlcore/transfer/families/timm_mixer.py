"""MLP-Mixer in timm: names and config.json."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.models.mixer import Mixer
from dlcore.transfer.families.architecture_config import (
  ArchitectureConfig,
  inputs,
  with_arguments,
)
from dlcore.transfer.families.layer_rules import dense, norm
from dlcore.transfer.families.name_rules import CONV, Rule


def _sizes(patch_size: int, depth: int, width: int) -> dict[str, Any]:
  return {
    "patch_size": patch_size,
    "depth": depth,
    "width": width,
    "tokens_mlp_dim": width // 2,
    "channels_mlp_dim": 4 * width,
  }


CONFIG = ArchitectureConfig(
  Mixer,
  {
    "mixer_s16_224": _sizes(16, 8, 512),
    "mixer_s32_224": _sizes(32, 8, 512),
    "mixer_b16_224": _sizes(16, 12, 768),
    "mixer_b32_224": _sizes(32, 12, 768),
    "mixer_l16_224": _sizes(16, 24, 1024),
    "mixer_l32_224": _sizes(32, 24, 1024),
  },
  first_layer="patches",
)


def rules(model: Mixer) -> Sequence[Rule]:
  """Returns the name rules, the same with and without a head."""
  del model
  published, path = "blocks.{i}", "params/block_{i}"
  return (
    *dense("stem.proj", "params/patches", CONV),
    *norm(f"{published}.norm1", f"{path}/tokens_norm"),
    *dense(f"{published}.mlp_tokens.fc1", f"{path}/tokens/in"),
    *dense(f"{published}.mlp_tokens.fc2", f"{path}/tokens/out"),
    *norm(f"{published}.norm2", f"{path}/channels_norm"),
    *dense(f"{published}.mlp_channels.fc1", f"{path}/channels/in"),
    *dense(f"{published}.mlp_channels.fc2", f"{path}/channels/out"),
    *norm("norm", "params/norm"),
    *dense("head", "params/head"),
  )


def describe_inputs(
  config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Mapping[str, Any]:
  """Returns a config.json with channels and size of square images.

  The image size is not a field of the model: it determines the number of
  tokens, the input width of the MLP over tokens.
  """
  config = CONFIG.describe_inputs(config, arrays)
  kernel = arrays.get("params/block_0/tokens/in/kernel")
  if kernel is None:
    return config
  patch_size = CONFIG.build(config).patch_size
  size = math.isqrt(kernel.shape[0]) * patch_size
  if inputs(config)[0].shape[1] == size:
    return config
  return with_arguments(config, img_size=size)


FAMILY = CONFIG.family(rules, describe_inputs=describe_inputs)

"""Golden files of convolutional networks and the MLP-Mixer.

They contain the outputs of the classes of transformers, timm and torchvision,
in float32, for random weights. With a CPU build of torch, `pip install
--no-deps timm torchvision` is sufficient.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch

# Without torchvision's compiled operators, as with a CPU build of torch, its
# import fails when it registers their fake versions. No model here needs them.
REGISTER = torch.library.register_fake
torch.library.register_fake = lambda *args, **kwargs: lambda function: function

import timm  # noqa: E402
import torchvision  # noqa: E402
import transformers  # noqa: E402
from timm.models._efficientnet_builder import decode_arch_def  # noqa: E402
from timm.models.efficientnet import EfficientNet  # noqa: E402
from timm.models.mlp_mixer import MlpMixer  # noqa: E402
from torch import nn  # noqa: E402

torch.library.register_fake = REGISTER


class Case(NamedTuple):
  """One model with random weights."""

  name: str
  config: dict[str, Any]
  """The published config.json."""

  make: Callable[[dict[str, Any]], nn.Module]
  """`config -> model`."""

  states: str
  """Regex of the modules whose outputs are hidden states, in order."""

  image: tuple[int, int, int]
  """Channels, rows and columns."""

  settings: dict[str, Any] | None = None
  """Fields of dlcore's model that no config.json contains."""

  images_first: bool = False
  """Whether the images are the first hidden states (a model without stem)."""


def hugging_face(config: dict[str, Any]) -> nn.Module:
  """Returns a model of transformers."""
  model = getattr(transformers, config["architectures"][0])
  return model(model.config_class(**config))


def of_timm(config: dict[str, Any]) -> nn.Module:
  """Returns a model of timm."""
  return timm.create_model(
    config["architecture"],
    num_classes=config["num_classes"],
    **config["model_args"],
  )


def efficientnet(
  blocks: list[list[str]], stem: int, features: int, channels: int
) -> Callable:
  """Returns a function that builds an EfficientNet-Lite of other sizes."""

  def make(config: dict[str, Any]) -> nn.Module:
    google = config["architecture"].startswith("tf_")
    return EfficientNet(
      decode_arch_def(blocks),
      num_classes=config["num_classes"],
      num_features=features,
      stem_size=stem,
      fix_stem=True,
      in_chans=channels,
      act_layer=nn.ReLU6,
      norm_layer=partial(nn.BatchNorm2d, eps=1e-3 if google else 1e-5),
      pad_type="same" if google else "",
    )

  return make


def vgg(
  stages: tuple[tuple[int, ...], ...], dense: tuple[int, int]
) -> Callable:
  """Returns a function that builds a VGG of other sizes."""

  def make(config: dict[str, Any]) -> nn.Module:
    layers = [layer for stage in stages for layer in (*stage, "M")]
    features = torchvision.models.vgg.make_layers(
      layers, batch_norm=config["architecture"].endswith("_bn")
    )
    model = torchvision.models.VGG(features, init_weights=False)
    widths = (49 * stages[-1][-1], *dense, config["num_classes"])
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
      model.classifier[3 * i] = nn.Linear(inputs, outputs)
    return model

  return make


def mixer(config: dict[str, Any]) -> nn.Module:
  """Returns a Mixer of sizes for which timm has no name."""
  return MlpMixer(
    num_classes=config["num_classes"],
    **config["model_args"],
    patch_size=5,
    num_blocks=2,
    embed_dim=16,
    mlp_ratio=(0.75, 2.0),
  )


HF = r"(resnet\.|convnext\.)?(embedder|embeddings|encoder\.stages\.\d+)"
LAYERS = r"maxpool|layer\d"
RESNET = {
  "num_channels": 3,
  "embedding_size": 6,
  "hidden_sizes": [12, 24],
  "depths": [1, 2],
  "num_labels": 5,
}
CONVNEXT = {"num_stages": 3, "hidden_sizes": [6, 8, 10], "depths": [1, 2, 1]}
DS = "ds_r1_k3_s1_e1_c6"

CASES = {
  "resnet": (
    Case(
      "bottleneck",
      {
        **RESNET,
        "architectures": ["ResNetForImageClassification"],
        "layer_type": "bottleneck",
        "hidden_sizes": [24, 48],
      },
      hugging_face,
      HF,
      (3, 37, 41),
    ),
    Case(
      "basic",
      {
        **RESNET,
        "architectures": ["ResNetForImageClassification"],
        "layer_type": "basic",
        "num_channels": 1,
        "hidden_sizes": [6, 12, 24],
        "depths": [2, 1, 1],
      },
      hugging_face,
      HF,
      (1, 45, 38),
    ),
    Case(
      "base",
      {
        **RESNET,
        "architectures": ["ResNetModel"],
        "layer_type": "basic",
        "embedding_size": 5,
        "hidden_sizes": [8, 16],
      },
      hugging_face,
      HF,
      (3, 33, 40),
    ),
  ),
  "timm/resnet": (
    Case(
      "basic",
      {
        "architecture": "resnet18",
        "num_classes": 5,
        "model_args": {
          "layers": [1, 2, 1, 1],
          "channels": [3, 6, 12, 24],
          "in_chans": 1,
        },
      },
      of_timm,
      LAYERS,
      (1, 21, 33),
    ),
    Case(
      "bottleneck",
      {
        "architecture": "resnet50",
        "num_classes": 7,
        "model_args": {
          "layers": [1, 1, 1, 1],
          "channels": [2, 4, 8, 16],
          "in_chans": 2,
        },
      },
      of_timm,
      LAYERS,
      (2, 18, 33),
    ),
  ),
  "torchvision/vgg": (
    Case(
      "plain",
      {"architecture": "vgg11", "num_classes": 5},
      vgg(((5,), (6, 7), (4,)), (11, 9)),
      r"features\.(2|7|10)",
      (3, 37, 41),
      {"stages": ((5,), (6, 7), (4,)), "dense": (11, 9)},
      images_first=True,
    ),
    Case(
      "norm",
      {"architecture": "vgg16_bn", "num_classes": 3},
      vgg(((6, 5), (4,)), (8, 9)),
      r"features\.(6|10)",
      (3, 28, 61),
      {"stages": ((6, 5), (4,)), "dense": (8, 9)},
      images_first=True,
    ),
  ),
  "timm/efficientnet_lite": (
    Case(
      "google",
      {"architecture": "tf_efficientnet_lite0", "num_classes": 5},
      efficientnet(
        [[DS], ["ir_r2_k3_s2_e4_c8"], ["ir_r1_k5_s2_e6_c12"]], 6, 20, 3
      ),
      r"bn1|blocks\.\d",
      (3, 37, 42),
      {
        "stages": ((1, 3, 1, 1, 6), (2, 3, 2, 4, 8), (1, 5, 2, 6, 12)),
        "stem": 6,
        "features": 20,
      },
    ),
    Case(
      "symmetric",
      {"architecture": "efficientnet_lite0", "num_classes": 5},
      efficientnet([[DS], ["ir_r2_k5_s2_e2_c8"]], 8, 20, 1),
      r"bn1|blocks\.\d",
      (1, 30, 41),
      {
        "stages": ((1, 3, 1, 1, 6), (2, 5, 2, 2, 8)),
        "stem": 8,
        "features": 20,
      },
    ),
  ),
  "convnext": (
    Case(
      "classifier",
      {
        **CONVNEXT,
        "architectures": ["ConvNextForImageClassification"],
        "num_labels": 5,
      },
      hugging_face,
      HF,
      (3, 37, 41),
    ),
    Case(
      "gray",
      {
        **CONVNEXT,
        "architectures": ["ConvNextForImageClassification"],
        "num_channels": 1,
        "patch_size": 3,
        "num_labels": 4,
        "layer_norm_eps": 1e-3,
        "layer_scale_init_value": 0.0,
      },
      hugging_face,
      HF,
      (1, 31, 40),
    ),
    Case(
      "base",
      {**CONVNEXT, "architectures": ["ConvNextModel"], "depths": [2, 1, 1]},
      hugging_face,
      HF,
      (3, 35, 50),
    ),
  ),
  "timm/convnext": (
    Case(
      "odd",
      {
        "architecture": "convnext_tiny",
        "num_classes": 5,
        "model_args": {
          "depths": [1, 2, 1, 1],
          "dims": [4, 6, 8, 10],
          "kernel_sizes": 5,
        },
      },
      of_timm,
      r"stem|stages\.\d",
      (3, 37, 41),
    ),
    Case(
      "plain",
      {
        "architecture": "convnext_base",
        "num_classes": 5,
        "model_args": {
          "depths": [1, 1, 1, 2],
          "dims": [4, 4, 8, 6],
          "patch_size": 3,
          "in_chans": 1,
        },
      },
      of_timm,
      r"stem|stages\.\d",
      (1, 33, 28),
    ),
  ),
  "timm/mixer": (
    Case(
      "small",
      {
        "architecture": "mixer_s16_224",
        "num_classes": 5,
        "model_args": {"img_size": [15, 20]},
      },
      mixer,
      r"stem|blocks\.\d",
      (3, 15, 20),
      {
        "patch_size": 5,
        "depth": 2,
        "width": 16,
        "tokens_mlp_dim": 12,
        "channels_mlp_dim": 32,
      },
    ),
  ),
}
FAMILIES = tuple(CASES)


def make(family: str) -> Iterator[tuple[str, dict, dict[str, torch.Tensor]]]:
  """Yields the name, the metadata and the arrays of each golden file."""
  for case in CASES[family]:
    torch.manual_seed(0)
    model = case.make(case.config).eval()
    randomize(model)
    images = torch.randn(2, *case.image)
    metadata = {"family": family, "config": json.dumps(case.config)}
    if case.settings:
      metadata["settings"] = json.dumps(case.settings)
    weights = {f"weight/{k}": v.clone() for k, v in model.state_dict().items()}
    arrays = {"input/images": images.permute(0, 2, 3, 1), **weights}
    yield case.name, metadata, arrays | computed(model, images, case)


def randomize(model: nn.Module) -> None:
  """Initializes parameters and statistics so that each one has an effect."""
  with torch.no_grad():
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
      if not weight.is_floating_point():
        continue
      if name.endswith("running_var") or (
        weight.ndim == 1 and not name.endswith(("bias", "running_mean"))
      ):
        weight.uniform_(0.5, 1.5)
      elif weight.ndim == 1:
        weight.normal_(std=0.3)
      else:
        weight.normal_(std=(2 / weight[0].numel()) ** 0.5)


def computed(
  model: nn.Module, images: torch.Tensor, case: Case
) -> dict[str, torch.Tensor]:
  """Returns outputs, their cotangents and the gradients, by name."""
  states, hooks = [images] if case.images_first else [], []
  for name, module in model.named_modules():
    if re.fullmatch(case.states, name):
      hook = module.register_forward_hook(
        # A copy, because a ReLU may modify the output in place.
        lambda module, arguments, output: states.append(output.clone())
      )
      hooks.append(hook)
  result = model(images)
  for hook in hooks:
    hook.remove()
  outputs = {
    f"hidden_states_{i}": channels_last(x) for i, x in enumerate(states)
  }
  if isinstance(result, torch.Tensor):
    final = {"logits": result}
  elif "logits" in result:
    final = {"logits": result.logits}
  else:
    pooled = result.pooler_output.flatten(1)
    final = {
      "hidden": channels_last(result.last_hidden_state),
      "pooled": pooled,
    }
  cotangents = {name: torch.randn(x.shape) for name, x in final.items()}
  loss = sum((final[name] * c).sum() for name, c in cotangents.items())
  names, parameters = zip(*model.named_parameters(), strict=True)
  gradients = torch.autograd.grad(loss, parameters)
  return {
    **{f"cotangent/{name}": x for name, x in cotangents.items()},
    # A tensor may be two outputs, and a file cannot share storage.
    **{f"output/{name}": x.clone() for name, x in (outputs | final).items()},
    **{f"gradient/{name}": x for name, x in zip(names, gradients, strict=True)},
  }


def channels_last(x: torch.Tensor) -> torch.Tensor:
  """Returns images with channels last, and tokens unchanged."""
  return x.permute(0, 2, 3, 1) if x.ndim == 4 else x

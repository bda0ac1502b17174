"""Models by name: Linen modules, used through `init` and `apply` only."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from dlcore.errors import UserError, lookup, nearest
from dlcore.models.cnn import CNN
from dlcore.models.gpt2 import GPT2
from dlcore.models.lenet import LeNet5
from dlcore.models.llama import Llama
from dlcore.models.mlp import MLP
from dlcore.models.resnet import ResNet
from dlcore.models.summary import flops, layers, summary
from dlcore.models.transformer import Transformer

LLAMA3_2 = {
  "tied": True,
  "vocabulary": 128_256,
  "hidden": 8192,
  "key_value_heads": 8,
  "length": 131_072,
  "theta": 500_000.0,
  "stretch": (32.0, 1.0, 4.0, 8192),
}
QWEN2 = {
  "bias": True,
  "vocabulary": 151_936,
  "length": 131_072,
  "theta": 1e6,
  "epsilon": 1e-6,
}
SMOLLM = {"tied": True, "vocabulary": 49_152, "length": 2048}

MODELS: dict[str, Callable[..., Any]] = {
  "cnn": CNN,
  "gpt2": GPT2,
  "gpt2_medium": partial(GPT2, width=1024, depth=24, heads=16),
  "gpt2_large": partial(GPT2, width=1280, depth=36, heads=20),
  "gpt2_xl": partial(GPT2, width=1600, depth=48, heads=25),
  "lenet5": LeNet5,
  "llama2_7b": Llama,
  "llama3_8b": partial(
    Llama,
    vocabulary=128_256,
    hidden=14_336,
    key_value_heads=8,
    length=8192,
    theta=500_000.0,
  ),
  "llama3_2_1b": partial(Llama, width=2048, depth=16, **LLAMA3_2),
  "llama3_2_3b": partial(Llama, width=3072, depth=28, heads=24, **LLAMA3_2),
  "mlp": MLP,
  "marian": partial(
    Transformer,
    vocabulary=58_101,
    length=512,
    activation="silu",
    halves=True,
    bias=True,
  ),
  "qwen2_0_5b": partial(
    Llama,
    tied=True,
    width=896,
    depth=24,
    heads=14,
    key_value_heads=2,
    hidden=4864,
    **QWEN2,
  ),
  "qwen2_1_5b": partial(
    Llama,
    tied=True,
    width=1536,
    depth=28,
    heads=12,
    key_value_heads=2,
    hidden=8960,
    **QWEN2,
  ),
  "resnet18": partial(ResNet, stages=(2, 2, 2, 2)),
  "resnet20": partial(ResNet, stages=(3, 3, 3), width=16, stem="small"),
  "resnet34": partial(ResNet, stages=(3, 4, 6, 3)),
  "resnet50": partial(ResNet, stages=(3, 4, 6, 3), block="bottleneck"),
  "smollm_135m": partial(
    Llama,
    width=576,
    depth=30,
    heads=9,
    key_value_heads=3,
    hidden=1536,
    **SMOLLM,
  ),
  "smollm_360m": partial(
    Llama,
    width=960,
    depth=32,
    heads=15,
    key_value_heads=5,
    hidden=2560,
    **SMOLLM,
  ),
  "smollm_1_7b": partial(Llama, width=2048, depth=24, hidden=8192, **SMOLLM),
  "transformer_base": Transformer,
  "transformer_big": partial(Transformer, width=1024, heads=16, hidden=4096),
}
"""Models by name: `(num_classes, **settings) -> module`."""

__all__ = [
  "CNN",
  "GPT2",
  "MLP",
  "MODELS",
  "LeNet5",
  "Llama",
  "ResNet",
  "Transformer",
  "create",
  "flops",
  "layers",
  "summary",
]


def create(name: str, *, num_classes: int, **settings: Any) -> Any:
  """Creates a model.

  Args:
    name: a key of `MODELS`.
    num_classes: width of the output; 1 in regression.
    **settings: fields of the model.

  Returns:
    A Linen module: `init(key, x, train=False)` gives the variables as plain
    dicts, `apply(variables, x, train=False)` float32 logits `[B, C]`.

  Raises:
    UserError: there is no such model, or it has no such setting.
  """
  model = lookup(MODELS, name, "model")
  known = set(inspect.signature(model).parameters) - {"parent", "name"}
  for setting in settings:
    if setting not in known:
      raise UserError(
        f"expected a setting of the model {name!r}",
        f"got {setting!r}",
        nearest(setting, known - {"num_classes"}),
      )
  return model(num_classes=num_classes, **settings)

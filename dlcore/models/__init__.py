"""Models by name: Linen modules, used through `init` and `apply` only."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from dlcore.errors import UserError, lookup, nearest
from dlcore.models.bert import Bert
from dlcore.models.cnn import CNN
from dlcore.models.features import feature_maps
from dlcore.models.lenet import LeNet5
from dlcore.models.mlp import MLP
from dlcore.models.published import PUBLISHED, Published
from dlcore.models.resnet import ResNet
from dlcore.models.summary import flops, layers, summary
from dlcore.models.vit import ViT

MODELS: dict[str, Callable[..., Any]] = {
  "bert_base": Bert,
  "bert_large": partial(Bert, width=1024, depth=24, heads=16),
  "cnn": CNN,
  "distilbert": partial(
    Bert, depth=6, token_types=0, pooler=False, pooler_activation="relu"
  ),
  "lenet5": LeNet5,
  "minilm_l12": partial(Bert, width=384),
  "minilm_l6": partial(Bert, width=384, depth=6),
  "mlp": MLP,
  "resnet18": partial(ResNet, stages=(2, 2, 2, 2)),
  "resnet20": partial(ResNet, stages=(3, 3, 3), width=16, stem="small"),
  "resnet34": partial(ResNet, stages=(3, 4, 6, 3)),
  "resnet50": partial(ResNet, stages=(3, 4, 6, 3), block="bottleneck"),
  "vit_base": ViT,
  "vit_large": partial(ViT, width=1024, depth=24, heads=16),
  "vit_small": partial(ViT, width=384, heads=6),
  "vit_tiny": partial(ViT, width=192, heads=3),
}
"""Models by name: `(num_classes, **settings) -> module`."""

__all__ = [
  "CNN",
  "MLP",
  "MODELS",
  "PUBLISHED",
  "Bert",
  "LeNet5",
  "Published",
  "ResNet",
  "ViT",
  "create",
  "feature_maps",
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

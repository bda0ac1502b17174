"""Models by name: Linen modules, used through `init` and `apply` only."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from dlcore.errors import UserError, lookup, nearest
from dlcore.models.cnn import CNN
from dlcore.models.lenet import LeNet5
from dlcore.models.mlp import MLP
from dlcore.models.recurrent import RecurrentNetwork
from dlcore.models.resnet import ResNet
from dlcore.models.seq2seq import Seq2Seq
from dlcore.models.summary import flops, layers, summary

MODELS: dict[str, Callable[..., Any]] = {
  "cnn": CNN,
  "gru": partial(RecurrentNetwork, cell="gru"),
  "lenet5": LeNet5,
  "lstm": partial(RecurrentNetwork, cell="lstm"),
  "mlp": MLP,
  "resnet18": partial(ResNet, stages=(2, 2, 2, 2)),
  "resnet20": partial(ResNet, stages=(3, 3, 3), width=16, stem="small"),
  "resnet34": partial(ResNet, stages=(3, 4, 6, 3)),
  "resnet50": partial(ResNet, stages=(3, 4, 6, 3), block="bottleneck"),
  "rnn": partial(RecurrentNetwork, cell="rnn"),
  "seq2seq": Seq2Seq,
}
"""Models by name: `(num_classes, **settings) -> module`."""

__all__ = [
  "CNN",
  "MLP",
  "MODELS",
  "LeNet5",
  "RecurrentNetwork",
  "ResNet",
  "Seq2Seq",
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

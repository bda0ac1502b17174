"""The layers that a strategy of transfer trains, by patterns over paths."""

import re
from collections.abc import Sequence

from dlcore import tasks
from dlcore.errors import UserError, check_pattern
from dlcore.task import Task
from dlcore.transfer.layer_order import Layer
from dlcore.transfer.phase import Layers
from dlcore.transfer.stacked_blocks import STACKED

HEAD = r"(^|/)head/"
"""Parameters of the output layer, which a new task begins with random ones."""


def train_matching(task: Task, layers: Layers, trained: str) -> Task:
  """Returns `task` with all parameters frozen that a pattern does not match.

  Raises:
    UserError: it matches none.
  """
  paths = [path for layer in layers() for path in layer.paths]
  matches = [path for path in paths if re.search(trained, path)]
  if not matches:
    raise UserError(
      "expected trained to match the paths of some parameters",
      f"got {trained!r}, which matches none",
      f"the last ones are {', '.join(paths[-3:])}",
    )
  others = f"^(?!.*(?:{trained}))"
  return task if len(matches) == len(paths) else tasks.freeze(task, others)


def check_trained(trained: str) -> None:
  """Checks the pattern of the parameters of the head.

  Raises:
    UserError: it is not a regular expression, or an empty one, which would
      match all parameters.
  """
  check_pattern("trained", trained)
  if not trained:
    raise UserError(
      "expected trained to match the paths of the head, not of all parameters",
      f"got {trained!r}, which matches all of them",
      f'set trained={HEAD!r}, or choose the strategy "full"',
    )


def separate_layers(layers: Layers) -> Sequence[Layer]:
  """Returns the layers of a model, each with parameters of its own.

  Raises:
    UserError: the parameters of its blocks are stacked in the same arrays.
  """
  known = layers()
  stacked = [p for layer in known for p in layer.paths if STACKED.search(p)]
  if stacked:
    raise UserError(
      "expected a model whose blocks have parameters of their own, for a "
      "strategy with differences between the layers",
      f"got stacked ones, such as {stacked[0]}, of a model with scan=True",
      "set scan=False of the model, which loads the same weights, or choose "
      "the strategy 'full', 'head' or 'lora'",
    )
  return known


def any_of(layers: Sequence[Layer]) -> str:
  """Returns a pattern of the parameters of some layers."""
  paths = [re.escape(path) for layer in layers for path in layer.paths]
  return f"^(?:{'|'.join(paths)})$"

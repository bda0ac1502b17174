"""A phase of a strategy of transfer, see `strategies`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from dlcore.data import DataInfo
from dlcore.task import Task
from dlcore.transfer.layer_order import Layer

Layers = Callable[[], Sequence[Layer]]
"""Returns the layers of the model, see `layer_order`, which takes a trace."""


def unchanged(task: Task, layers: Layers) -> Task:
  """Returns `task` itself: the default of `Adaptation.task`."""
  del layers
  return task


def no_rates(layers: Layers) -> tuple[tuple[str, float], ...]:
  """Returns no rules: the default of `Adaptation.rates`."""
  del layers
  return ()


def any_data(info: DataInfo) -> None:
  """Accepts all data: the default of `Adaptation.check_data`."""
  del info


class Adaptation(NamedTuple):
  """How a task is changed in a phase, given the layers of its model."""

  task: Callable[[Task, Layers], Task] = unchanged
  rates: Callable[[Layers], tuple[tuple[str, float], ...]] = no_rates
  """Multipliers of the learning rate, see `optim.create`."""

  share: float = 1.0
  """Of the steps of the run."""

  rate: float = 1.0
  """Multiplier of the peak of the learning rate."""

  freezes: bool = False
  """Whether some parameters keep the values with which the phase begins."""

  loads: bool = True
  """Whether the run begins with the weights of `init.source`; otherwise these
  determine the model and its inputs alone."""

  caches: bool = False
  """Whether the features before the head are computed once, where they are the
  same in every epoch."""

  predicts: bool = True
  """Whether predictions are learned, which are then evaluated."""

  sampling: str = ""
  """Key of `data.SAMPLINGS` in place of that of the run; empty for that one."""

  least_batch: int = 1
  """The smallest batch size that a `plan` chooses for few examples."""

  check_data: Callable[[DataInfo], None] = any_data
  """Raises a `UserError` for data from which the phase learns nothing."""


Strategy = tuple[Adaptation, ...]
"""The phases, in their order."""

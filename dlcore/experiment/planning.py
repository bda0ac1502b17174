"""Settings that follow from the training data, for the `plan` of a config.

A config is pure, and knows the data only by the settings of its section. Its
function `plan(config, variant)` may read it and return further settings by
path. Values that the command line has changed are kept: `Plan` holds those that
may be replaced, which stand in the config as well.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dlcore import data
from dlcore.errors import UserError
from dlcore.experiment.adaptation import strategy
from dlcore.experiment.defaults import own_settings
from dlcore.experiment.vocabulary import with_local_tokenizers


class Plan(NamedTuple):
  """Batch size, epochs, evaluations and learning rate of a run."""

  batch_size: int
  """The largest one. Few examples get a smaller one, so that an epoch has 8
  steps at least."""

  epochs: float
  """The value in the config."""

  examples: int
  """Few examples get more epochs, until so many have been seen."""

  least_batch: int = 1
  """The smallest batch size. That of a strategy may be larger, see
  `transfer.Adaptation`. Epochs of fewer steps are as many more at most."""

  least_epochs: float = 5.0
  most_epochs: float = 60.0
  evaluations: int = 10
  learning_rate: float = 0.0
  """The value in the config."""

  rates: Mapping[str, float] = {}
  """Those of other strategies, by name."""

  def leaves(self, config: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Returns the settings for a number of training examples, by path.

    Args:
      config: the complete config, with the overrides of the command line.
      size: number of examples.
    """
    found: dict[str, Any] = {}
    most_epochs = self.most_epochs
    batch_size = config["data"]["batch_size"]
    if batch_size == self.batch_size:
      # A power of two, which several devices can share.
      few = 2 ** max(0, (size // 8).bit_length() - 1)
      least = max(self.least_batch, *(p.least_batch for p in strategy(config)))
      larger = max(few, min(least, 2 ** (size.bit_length() - 1)))
      most_epochs *= larger / few
      batch_size = found["data.batch_size"] = min(batch_size, larger)
    epochs = config["training"]["epochs"]
    if epochs == self.epochs:
      wanted = max(self.examples / size, self.least_epochs)
      epochs = found["training.epochs"] = round(min(wanted, most_epochs), 2)
    steps = config["training"]["steps"] or epochs * size / batch_size
    found["training.eval_every"] = max(1, int(steps / self.evaluations))
    name = config["init"]["strategy"]["name"]
    if (
      name in self.rates
      and config["optim"]["learning_rate"] == self.learning_rate
    ):
      found["optim.learning_rate"] = self.rates[name]
    return found


def training_source(config: Mapping[str, Any]) -> data.Source | None:
  """Returns the training split of the data of a config.

  It has `data.limit` examples, as that of the run.

  Args:
    config: the complete config.

  Returns:
    None if it cannot be loaded: the run loads it again, and reports why.
  """
  section = config["data"]
  try:
    settings = with_local_tokenizers(own_settings(section, "data"))
    train = data.load(section["name"], **settings).train
    return data.limit(train, section["limit"]) if section["limit"] else train
  except UserError:
    return None

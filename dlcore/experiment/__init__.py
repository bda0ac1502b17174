"""From a config to a run: the tree of defaults, the parts, the run folder."""

from dlcore.experiment.build import Experiment, build
from dlcore.experiment.defaults import complete, config, rename
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.prediction import predict
from dlcore.experiment.run import evaluate, train
from dlcore.experiment.words import summary, table

__all__ = [
  "Experiment",
  "RunFolder",
  "build",
  "complete",
  "config",
  "evaluate",
  "predict",
  "rename",
  "summary",
  "table",
  "train",
]

"""From a config to a run: the tree of defaults, the parts, the run folder."""

from dlcore.experiment.build import Experiment, build
from dlcore.experiment.defaults import complete, config, no_variant, rename
from dlcore.experiment.export import export
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.overrides import read_config
from dlcore.experiment.prediction import predict
from dlcore.experiment.run import evaluate, train
from dlcore.experiment.seeds import train_seeds
from dlcore.experiment.words import seeds_table, summary, table

__all__ = [
  "Experiment",
  "RunFolder",
  "build",
  "complete",
  "config",
  "evaluate",
  "export",
  "no_variant",
  "predict",
  "read_config",
  "rename",
  "seeds_table",
  "summary",
  "table",
  "train",
  "train_seeds",
]

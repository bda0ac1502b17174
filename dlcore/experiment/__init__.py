"""From a config to a run: the tree of defaults, the parts, the run folder."""

from dlcore.experiment.build import Experiment, build
from dlcore.experiment.cross_validation import advise_folds, train_folds
from dlcore.experiment.defaults import complete, config, leaves, no_variant
from dlcore.experiment.experiment_summary import summary
from dlcore.experiment.export import export
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.overrides import read_config
from dlcore.experiment.prediction import predict
from dlcore.experiment.results_tables import results_table, seeds_table
from dlcore.experiment.seeds import train_seeds
from dlcore.experiment.training_run import evaluate, train

__all__ = [
  "Experiment",
  "RunFolder",
  "advise_folds",
  "build",
  "complete",
  "config",
  "evaluate",
  "export",
  "leaves",
  "no_variant",
  "predict",
  "read_config",
  "results_table",
  "seeds_table",
  "summary",
  "train",
  "train_folds",
  "train_seeds",
]

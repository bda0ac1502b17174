"""From a config to a run: the tree of defaults, the parts, the run folder."""

from dlcore.experiment.build import Experiment, build
from dlcore.experiment.cross_validation import advise_folds, train_folds
from dlcore.experiment.default_folder import default_workdir
from dlcore.experiment.defaults import complete, config, leaves, no_variant
from dlcore.experiment.experiment_summary import summary
from dlcore.experiment.export import export
from dlcore.experiment.features import load_extractor, write_features
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.overrides import (
  read_config,
  read_run,
  read_space,
  with_leaves,
)
from dlcore.experiment.planning import Plan, training_source
from dlcore.experiment.population_building import (
  build_population,
  most_members,
  runs_alone,
  varying_paths,
  why_not_together,
)
from dlcore.experiment.prediction import predict
from dlcore.experiment.prediction_file import write_predictions
from dlcore.experiment.predictor import Predictor, load
from dlcore.experiment.quick_checks import (
  QUICK_CHECKS,
  QuickCheck,
  begin_again,
)
from dlcore.experiment.rate_finder import (
  RateCurves,
  find_rate,
  rates_table,
  write_rate_page,
)
from dlcore.experiment.registration import Parts, imported_modules, register
from dlcore.experiment.results_tables import results_table, seeds_table
from dlcore.experiment.seeds import train_seeds
from dlcore.experiment.source_settings import (
  follow_source,
  image_settings,
  text_settings,
)
from dlcore.experiment.text_generation import (
  GenerationSettings,
  generate_text,
)
from dlcore.experiment.training_run import evaluate, train, train_validated

__all__ = [
  "QUICK_CHECKS",
  "Experiment",
  "GenerationSettings",
  "Parts",
  "Plan",
  "Predictor",
  "QuickCheck",
  "RateCurves",
  "RunFolder",
  "advise_folds",
  "begin_again",
  "build",
  "build_population",
  "complete",
  "config",
  "default_workdir",
  "evaluate",
  "export",
  "find_rate",
  "follow_source",
  "generate_text",
  "image_settings",
  "imported_modules",
  "leaves",
  "load",
  "load_extractor",
  "most_members",
  "no_variant",
  "predict",
  "rates_table",
  "read_config",
  "read_run",
  "read_space",
  "register",
  "results_table",
  "runs_alone",
  "seeds_table",
  "summary",
  "text_settings",
  "train",
  "train_folds",
  "train_seeds",
  "train_validated",
  "training_source",
  "varying_paths",
  "why_not_together",
  "with_leaves",
  "write_features",
  "write_predictions",
  "write_rate_page",
]

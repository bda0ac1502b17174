"""Training: state, update, step, loop, evaluation."""

from dlcore.training.checks import RANGES
from dlcore.training.decisions import Decisions, Plateau
from dlcore.training.evaluation import Evaluator
from dlcore.training.fit import OnEvaluation, Result, fit
from dlcore.training.intervals import Intervals
from dlcore.training.memory_estimate import MemoryEstimate
from dlcore.training.memory_preview import preview_memory
from dlcore.training.phases import Phases
from dlcore.training.population import Population
from dlcore.training.population_programs import Member, Parts
from dlcore.training.run_files import KIND as FIT
from dlcore.training.run_files import summarize
from dlcore.training.sample_history import Samples
from dlcore.training.signals import Stopped
from dlcore.training.state import (
  State,
  evaluation_variables,
  init_guard,
  init_state,
  init_variables,
)
from dlcore.training.step import (
  average,
  guard,
  make_step,
  sum_metrics,
)
from dlcore.training.update import Update, make_update

__all__ = [
  "FIT",
  "RANGES",
  "Decisions",
  "Evaluator",
  "Intervals",
  "Member",
  "MemoryEstimate",
  "OnEvaluation",
  "Parts",
  "Phases",
  "Plateau",
  "Population",
  "Result",
  "Samples",
  "State",
  "Stopped",
  "Update",
  "average",
  "evaluation_variables",
  "fit",
  "guard",
  "init_guard",
  "init_state",
  "init_variables",
  "make_step",
  "make_update",
  "preview_memory",
  "sum_metrics",
  "summarize",
]

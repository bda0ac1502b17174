"""Training: state, step, loop, evaluation, checkpoints."""

from dlcore.training.checkpoint import Checkpoints
from dlcore.training.decisions import Plateau
from dlcore.training.evaluation import Evaluator
from dlcore.training.phases import Phases
from dlcore.training.signals import Stopped
from dlcore.training.state import State
from dlcore.training.step import make_step
from dlcore.training.trainer import fit

__all__ = [
  "Checkpoints",
  "Evaluator",
  "Phases",
  "Plateau",
  "State",
  "Stopped",
  "fit",
  "make_step",
]

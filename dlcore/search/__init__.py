"""Hyperparameter search: spaces, algorithms, and trials in one program."""

from dlcore.search.algorithms import ALGORITHMS, PRUNERS
from dlcore.search.bayesian import GaussianProcessSampler
from dlcore.search.conclusion import search_and_confirm
from dlcore.search.search_run import Settings, search
from dlcore.search.shared_study import SharedStudy
from dlcore.search.space import (
  Choice,
  Interval,
  Space,
  When,
  choice,
  integer,
  log,
  parse,
  uniform,
  when,
)
from dlcore.search.suggested_space import (
  choose_space,
  describe_space,
  suggest,
)

__all__ = [
  "ALGORITHMS",
  "PRUNERS",
  "Choice",
  "GaussianProcessSampler",
  "Interval",
  "Settings",
  "SharedStudy",
  "Space",
  "When",
  "choice",
  "choose_space",
  "describe_space",
  "integer",
  "log",
  "parse",
  "search",
  "search_and_confirm",
  "suggest",
  "uniform",
  "when",
]

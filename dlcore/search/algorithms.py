"""The algorithms that propose the values of trials, and those that end them."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optuna

from dlcore.search.bayesian import GaussianProcessSampler
from dlcore.search.space import Space, inner, is_active, label

GRID_POINTS = 5
"""Values of an interval on a grid of any size."""

REDUCTION = 3
"""The share of trials that continue is 1 / 3 (Li et al. 2018)."""


class Request(NamedTuple):
  """The input of an algorithm."""

  space: Space
  leaves: Mapping[str, Any]
  """The leaves of the config by path, for the conditions of the space."""

  trials: int
  """0 without a limit."""

  seed: int


class Algorithm(NamedTuple):
  """How the values of trials are chosen."""

  sampler: Callable[[Request], optuna.samplers.BaseSampler]
  at_once: int
  """Trials that are asked for at a time, if one program can train them."""

  points: Callable[[Request], list[dict[str, Any]]] = lambda request: []
  """Points that are tried first."""


def random(request: Request) -> optuna.samplers.BaseSampler:
  """Returns a sampler of independent values (Bergstra & Bengio 2012)."""
  return optuna.samplers.RandomSampler(seed=request.seed)


def sobol(request: Request) -> optuna.samplers.BaseSampler:
  """Returns a sampler of a scrambled Sobol sequence, which fills the space."""
  return _gaussian_process(request, startup_trials=2**31)


def tpe(request: Request) -> optuna.samplers.BaseSampler:
  """Returns Optuna's tree-structured Parzen estimator (Bergstra et al. 2011).

  It is multivariate, and models each branch of a conditional space. Trials that
  are running count as bad ones, so that several at once differ.
  """
  return optuna.samplers.TPESampler(
    seed=request.seed, multivariate=True, group=True, constant_liar=True
  )


def gp(request: Request) -> optuna.samplers.BaseSampler:
  """Returns a Gaussian process with expected improvement, see `bayesian`."""
  return _gaussian_process(request)


def _gaussian_process(
  request: Request, **settings: Any
) -> GaussianProcessSampler:
  space = request.space

  def active(stored: Mapping[str, Any]) -> list[str]:
    values = {path: inner(space[path]).load(v) for path, v in stored.items()}
    merged = {**request.leaves, **values}
    return [path for path in space if is_active(space, path, merged)]

  is_conditional = any(inner(one) is not one for one in space.values())
  return GaussianProcessSampler(
    {path: inner(one).distribution() for path, one in space.items()},
    seed=request.seed,
    active=active if is_conditional else None,
    **settings,
  )


def grid_points(request: Request) -> list[dict[str, Any]]:
  """Returns all combinations of the values of a grid.

  Intervals get the most values, two or more, with which the grid has at most
  as many points as there are trials; `GRID_POINTS` without a limit.
  """
  trials = request.trials or math.inf
  count = 2 if request.trials else GRID_POINTS
  points = _combinations(request, count)
  while request.trials:
    finer = _combinations(request, count + 1)
    if not len(points) < len(finer) <= trials:
      break
    points, count = finer, count + 1
  return points


def _combinations(request: Request, count: int) -> list[dict[str, Any]]:
  """Returns the different combinations, without parameters that are inactive.

  Args:
    request: the space.
    count: values of an interval.
  """
  space, points = request.space, {}
  values = [inner(one).grid(count) for one in space.values()]
  for combination in itertools.product(*values):
    point = dict(zip(space, combination, strict=True))
    merged = {**request.leaves, **point}
    own = {
      path: v for path, v in point.items() if is_active(space, path, merged)
    }
    points.setdefault(tuple((path, label(v)) for path, v in own.items()), own)
  return list(points.values())


MODELS_AT_ONCE, OTHERS_AT_ONCE = 16, 64

ALGORITHMS = {
  "grid": Algorithm(random, OTHERS_AT_ONCE, grid_points),
  "random": Algorithm(random, OTHERS_AT_ONCE),
  "sobol": Algorithm(sobol, OTHERS_AT_ONCE),
  "tpe": Algorithm(tpe, MODELS_AT_ONCE),
  "gp": Algorithm(gp, MODELS_AT_ONCE),
  "bayes": Algorithm(gp, MODELS_AT_ONCE),
}
"""`bayes` is the Gaussian process."""


class Budget(NamedTuple):
  """The steps of a trial, for a pruner."""

  steps: int
  eval_every: int


def asha(budget: Budget) -> optuna.pruners.BasePruner:
  """Returns asynchronous successive halving (Li et al. 2020, 1810.05934)."""
  return optuna.pruners.SuccessiveHalvingPruner(
    min_resource=_first_rung(budget), reduction_factor=REDUCTION
  )


def hyperband(budget: Budget) -> optuna.pruners.BasePruner:
  """Returns Hyperband (Li et al. 2018, arXiv:1603.06560)."""
  return optuna.pruners.HyperbandPruner(
    min_resource=_first_rung(budget),
    max_resource=budget.steps,
    reduction_factor=REDUCTION,
  )


def median(budget: Budget) -> optuna.pruners.BasePruner:
  """Returns the rule that ends a trial below the median at the same step.

  Golovin et al. 2017, Google Vizier.
  """
  return optuna.pruners.MedianPruner(n_warmup_steps=_first_rung(budget))


def _first_rung(budget: Budget) -> int:
  """Returns the steps that every trial makes, at least an evaluation."""
  rung = max(budget.steps // REDUCTION**3, budget.eval_every, 1)
  return -(-rung // budget.eval_every) * budget.eval_every


PRUNERS: dict[str, Callable[[Budget], optuna.pruners.BasePruner]] = {
  "none": lambda budget: optuna.pruners.NopPruner(),
  "asha": asha,
  "hyperband": hyperband,
  "median": median,
}

"""Bayesian optimization as a sampler of Optuna."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from scipy import optimize, special, stats

from dlcore.search import gaussian_process
from dlcore.search.gaussian_process import Posterior, log_expected_improvement
from dlcore.search.unit_cube import INACTIVE, Distributions, Encoding

STARTUP_TRIALS = 4
"""Points of a Sobol sequence at the start, and one for each parameter."""

CANDIDATES = 1024
"""Random points at which the expected improvement is evaluated."""

NEAR = 128
"""Further ones near the best points."""

STARTS = 4
"""The best of them, from which the search continues."""

ROUNDS = 3
"""Rounds of continuous and discrete coordinates, one after the other."""

DROPPED = "dropped"
"""Attribute of a trial that does not count, since another one continues it."""

MOST_TRIALS = 250
"""Trials that the process is fitted to; the best and the latest of more."""


class GaussianProcessSampler(optuna.samplers.BaseSampler):
  """Proposes the point of greatest expected improvement.

  The model is a Gaussian process over the unit cube, see
  `gaussian_process.fit`. Values below the median are replaced by normal
  quantiles of their rank, so that diverged and failed trials do not determine
  its scale (Song et al. 2024, arXiv:2408.11527, section 4.3). Trials that are
  running have the mean that the model expects, so that several that are asked
  for at once differ (the "kriging believer", Ginsbourger et al. 2010).
  """

  def __init__(
    self,
    space: Distributions | None = None,
    *,
    seed: int | None = None,
    startup_trials: int = 0,
    active: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
  ):
    """Creates a sampler.

    Args:
      space: distributions of all parameters, those of conditional ones
        included; None for those that all finished trials have in common.
      seed: of the random numbers.
      startup_trials: trials that a Sobol sequence determines; 0 for 4 and one
        for each parameter.
      active: returns the names of the parameters that a trial with some values
        has; None if it has all.
    """
    self._space = space
    self._seed = np.random.SeedSequence(seed).generate_state(1)[0]
    self._startup_trials = startup_trials
    self._active = active
    self._common = optuna.search_space.IntersectionSearchSpace()
    self._independent = optuna.samplers.RandomSampler(seed=int(self._seed))
    self._theta: np.ndarray | None = None

  def reseed_rng(self) -> None:
    """Draws other random numbers, as every worker process must."""
    self._seed = np.random.SeedSequence().generate_state(1)[0]
    self._independent.reseed_rng()

  def infer_relative_search_space(
    self, study: optuna.Study, trial: FrozenTrial
  ) -> dict[str, optuna.distributions.BaseDistribution]:
    """Returns the parameters that are proposed together."""
    if self._space is not None:
      return dict(self._space)
    return {
      name: one
      for name, one in self._common.calculate(study).items()
      if not one.single()
    }

  def sample_relative(
    self,
    study: optuna.Study,
    trial: FrozenTrial,
    search_space: dict[str, optuna.distributions.BaseDistribution],
  ) -> dict[str, Any]:
    """Returns the values of a trial."""
    if not search_space:
      return {}
    encoding = Encoding(search_space)
    trials = [
      one
      for one in study._get_trials(deepcopy=False, use_cache=True)
      if one.params and DROPPED not in one.user_attrs
    ]
    finished = [one for one in trials if one.state.is_finished()]
    running = [one.params for one in trials if one.state is TrialState.RUNNING]
    startup = self._startup_trials or STARTUP_TRIALS + len(search_space)
    if len(finished) + len(running) < startup or len(finished) < 2:
      return encoding.decode(self._startup(trial.number, len(search_space)))
    minimizes = study.direction is optuna.study.StudyDirection.MINIMIZE
    values = np.array([_value(one, minimizes) for one in finished])
    points = encoding.encode([one.params for one in finished])
    points, values = _chosen(points, values)
    random = np.random.default_rng([self._seed, trial.number])
    point = self._propose(encoding, points, values, running, random)
    return encoding.decode(point)

  def sample_independent(
    self,
    study: optuna.Study,
    trial: FrozenTrial,
    param_name: str,
    param_distribution: optuna.distributions.BaseDistribution,
  ) -> Any:
    """Returns a random value of a parameter that `sample_relative` lacks."""
    return self._independent.sample_independent(
      study, trial, param_name, param_distribution
    )

  def _startup(self, number: int, size: int) -> np.ndarray:
    """Returns a point of a scrambled Sobol sequence."""
    sobol = stats.qmc.Sobol(size, rng=np.random.default_rng(self._seed))
    if number:
      sobol.fast_forward(number)
    return sobol.random(1)[0]

  def _propose(
    self,
    encoding: Encoding,
    points: np.ndarray,
    values: np.ndarray,
    running: Sequence[Mapping[str, Any]],
    random: np.random.Generator,
  ) -> np.ndarray:
    """Returns the point of greatest expected improvement, `[P]`."""
    size = encoding.features(points[:1]).shape[1]
    start = self._theta
    if start is not None and len(start) != size + 2:
      start = None
    values = warp(values)
    posterior, self._theta = gaussian_process.fit(
      encoding.features(points), values, start
    )
    if running:
      others = encoding.encode(running)
      points = np.concatenate([points, others])
      posterior = posterior.with_believed(encoding.features(others))
    features = encoding.features(points)
    best = float(posterior.mean_and_deviation(features)[0].max())
    acquisition = _Acquisition(encoding, posterior, best, self._canonical)
    candidates = acquisition.candidates(points, random)
    scores = acquisition(candidates)
    order = np.argsort(-scores)[:STARTS]
    found = [acquisition.improve(candidates[index]) for index in order]
    return max(found, key=lambda pair: pair[1])[0]

  def _canonical(self, encoding: Encoding, points: np.ndarray) -> np.ndarray:
    """Returns points with the coordinate of parameters that do not exist."""
    if self._active is None:
      return points
    points = points.copy()
    for row in points:
      active = self._active(encoding.decode(row))
      for index, name in enumerate(encoding.axes):
        if name not in active:
          row[index] = INACTIVE
    return points


class _Acquisition:
  """The logarithm of the expected improvement, and the search for its peak."""

  def __init__(
    self,
    encoding: Encoding,
    posterior: Posterior,
    best: float,
    canonical: Callable[[Encoding, np.ndarray], np.ndarray],
  ):
    self._encoding = encoding
    self._posterior = posterior
    self._best = best
    self._canonical = canonical

  def __call__(self, points: np.ndarray) -> np.ndarray:
    """Returns the values at points `[M, P]`: `[M]`."""
    points = self._canonical(self._encoding, points)
    features = self._encoding.features(points)
    mean, deviation = self._posterior.mean_and_deviation(features)
    return log_expected_improvement(mean, deviation, self._best)

  def candidates(
    self, points: np.ndarray, random: np.random.Generator
  ) -> np.ndarray:
    """Returns points of the whole cube, and points near the best ones."""
    size = points.shape[1]
    sobol = stats.qmc.Sobol(size, rng=random).random(CANDIDATES)
    features = self._encoding.features(points)
    means, _ = self._posterior.mean_and_deviation(features)
    best = points[np.argsort(-means)[:4]]
    scales = 10 ** random.uniform(-3, -0.5, (NEAR, 1))
    changed = random.random((NEAR, size)) < max(0.5, 1 / size)
    centers = best[random.integers(len(best), size=NEAR)]
    near = centers + changed * scales * random.standard_normal((NEAR, size))
    near = _reflected(near)
    return self._encoding.snap(np.concatenate([sobol, near, best]))

  def improve(self, point: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the peak that a search from `point` finds, and its value."""
    value = float(self(point[None])[0])
    for _ in range(ROUNDS):
      before = value
      point, value = self._climb(point, value)
      point, value = self._best_levels(point, value)
      if value - before < 1e-6 or not self._encoding.discrete:
        break
    return point, value

  def _climb(self, point: np.ndarray, value: float) -> tuple[np.ndarray, float]:
    """Follows the gradient over the continuous coordinates."""
    pairs = self._encoding.continuous
    if not pairs:
      return point, value
    own, features = (list(indices) for indices in zip(*pairs, strict=True))
    [base] = self._encoding.features(
      self._canonical(self._encoding, point[None])
    )

    def objective(x):
      full = base.copy()
      full[features] = x
      mean, deviation, of_mean, of_deviation = self._posterior.gradients(full)
      z = (mean - self._best) / deviation
      logarithm = float(gaussian_process.log_h(np.array(z)))
      value = math.log(deviation) + logarithm
      # d log EI = (Phi(z) d mean + phi(z) d deviation) / (deviation h(z))
      log_scale = math.log(deviation) + logarithm
      by_mean = math.exp(special.log_ndtr(z) - log_scale)
      log_density = -(z**2) / 2 - math.log(2 * math.pi) / 2
      by_deviation = math.exp(log_density - log_scale)
      gradient = by_mean * of_mean + by_deviation * of_deviation
      return -value, -gradient[features]

    result = optimize.minimize(
      objective,
      point[own],
      jac=True,
      method="L-BFGS-B",
      bounds=[(0.0, 1.0)] * len(own),
      options={"maxiter": 50},
    )
    if -result.fun <= value:
      return point, value
    point = point.copy()
    point[own] = result.x
    return point, float(self(point[None])[0])

  def _best_levels(
    self, point: np.ndarray, value: float
  ) -> tuple[np.ndarray, float]:
    """Tries all levels of each discrete coordinate."""
    for index, levels in self._encoding.discrete:
      tried = np.repeat(point[None], len(levels), axis=0)
      tried[:, index] = levels
      scores = self(tried)
      if scores.max() > value:
        point, value = tried[np.argmax(scores)], float(scores.max())
    return point, value


def warp(values: np.ndarray) -> np.ndarray:
  """Returns values with mean 0 and variance 1, without a long lower tail.

  Args:
    values: more is better; not finite ones are the worst. `[N]`.
  """
  finite = np.isfinite(values)
  if not finite.any():
    return np.zeros(len(values))
  median = np.median(values[finite])
  above = values[finite & (values >= median)] - median
  deviation = math.sqrt(np.mean(above**2))
  warped = np.where(finite, values, -np.inf)
  below = ~finite | (values < median)
  if below.any():
    ranks = stats.rankdata(warped[below], method="average")
    quantiles = special.ndtri((ranks - 0.5) / (2 * len(ranks)))
    raised = median + deviation * quantiles
    warped[below] = np.maximum(warped[below], raised)
  scale = warped.std()
  return (warped - warped.mean()) / (scale if scale > 0 else 1.0)


def _value(trial: FrozenTrial, minimizes: bool) -> float:
  """Returns the value of a trial, more is better; NaN if it failed."""
  value = trial.value if trial.state is TrialState.COMPLETE else None
  if trial.state is TrialState.PRUNED and trial.intermediate_values:
    value = trial.intermediate_values[max(trial.intermediate_values)]
  if value is None:
    return math.nan
  return -value if minimizes else value


def _chosen(
  points: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns at most `MOST_TRIALS` trials: the best ones, and the latest."""
  if len(values) <= MOST_TRIALS:
    return points, values
  order = np.argsort(-np.where(np.isfinite(values), values, -np.inf))
  best = set(order[: MOST_TRIALS // 2])
  latest = [i for i in range(len(values))[::-1] if i not in best]
  kept = sorted([*best, *latest[: MOST_TRIALS - len(best)]])
  return points[kept], values[kept]


def _reflected(points: np.ndarray) -> np.ndarray:
  """Returns points outside of the unit cube reflected into it."""
  return 1 - np.abs(1 - np.abs(points) % 2)

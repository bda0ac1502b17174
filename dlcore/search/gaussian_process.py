"""Bayesian optimization with a Gaussian process and expected improvement."""

import math
import warnings
from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize, special
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

MATERN = math.sqrt(5)
LENGTH_BOUNDS, VARIANCE_BOUNDS, NOISE_BOUNDS = (
  (5e-3, 1e2),
  (1e-2, 1e2),
  (1e-8, 1.0),
)
VARIANCE_PRIOR = (0.0, 1.0)
NOISE_PRIOR = (math.log(1e-6), 3.0)
"""Mean and deviation of the logarithm, as for the length scales."""

START_NOISES = math.log(1e-6), math.log(1e-2)

JITTER = 1e-10
"""Of the diagonal, as scikit-learn adds it."""

MAX_ITERATIONS = 40
"""Of the search for the hyperparameters, from each start."""


class Posterior(NamedTuple):
  """The posterior of a Gaussian process with a Matern 5/2 kernel.

  Rasmussen & Williams 2006, equations 2.25, 2.26 and 4.17.
  """

  points: np.ndarray
  """`[N, D]`."""

  weights: np.ndarray
  """`K^-1 y`, `[N]`."""

  factor: np.ndarray
  """The lower Cholesky factor of the covariance `K` of the values, `[N, N]`."""

  lengths: np.ndarray
  """Length scales, `[D]`."""

  variance: float
  """Of the signal."""

  noise: float
  """Variance of the noise of the values."""

  values: np.ndarray
  """`[N]`."""

  def mean_and_deviation(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and deviation of the function at points `[M, D]`: `[M]`."""
    covariance = self._covariance(x)[0]
    solved = linalg.solve_triangular(self.factor, covariance.T, lower=True)
    rest = self.variance - np.sum(solved**2, axis=0)
    return covariance @ self.weights, np.sqrt(np.maximum(rest, 1e-14))

  def gradients(
    self, x: np.ndarray
  ) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Returns mean, deviation and their gradients `[D]` at a point `[D]`."""
    covariance, slope = self._covariance(x[None])
    # dk/dx = -5/3 variance (1 + sqrt(5) r) exp(-sqrt(5) r) (x - z) / l^2
    jacobian = slope.T * (x - self.points) / self.lengths**2
    solved = linalg.cho_solve((self.factor, True), covariance[0])
    deviation = math.sqrt(max(self.variance - covariance[0] @ solved, 1e-14))
    return (
      float(covariance[0] @ self.weights),
      deviation,
      self.weights @ jacobian,
      -(solved @ jacobian) / deviation,
    )

  def with_believed(self, x: np.ndarray) -> "Posterior":
    """Returns the posterior after its own means at points `[M, D]`."""
    values = np.concatenate([self.values, self.mean_and_deviation(x)[0]])
    points = np.concatenate([self.points, x])
    prior = self._replace(points=points)
    covariance = prior._covariance(points)[0]
    covariance[np.diag_indices_from(covariance)] += self.noise + JITTER
    factor = linalg.cholesky(covariance, lower=True)
    weights = linalg.cho_solve((factor, True), values)
    return prior._replace(weights=weights, factor=factor, values=values)

  def _covariance(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the covariances `[M, N]`, and the factor of their gradients."""
    a, b = x / self.lengths, self.points / self.lengths
    squares = np.sum(a**2, 1)[:, None] + np.sum(b**2, 1) - 2 * a @ b.T
    scaled = MATERN * np.sqrt(np.maximum(squares, 0))
    decay = self.variance * np.exp(-scaled)
    covariance = (1 + scaled + scaled**2 / 3) * decay
    return covariance, -5 / 3 * (1 + scaled) * decay


def fit(
  points: np.ndarray, values: np.ndarray, start: np.ndarray | None = None
) -> tuple[Posterior, np.ndarray]:
  """Fits a Gaussian process.

  The hyperparameters have the greatest posterior density. The prior of the
  length scales is that of Hvarfner et al. 2024 (arXiv:2402.02229), which grows
  with the square root of the number of dimensions.

  Args:
    points: in the unit cube, `[N, D]`.
    values: with mean 0 and variance 1, `[N]`.
    start: the hyperparameters of an earlier fit, from which the search begins
      too.

  Returns:
    The posterior, and the logarithms of the hyperparameters.
  """
  size = points.shape[1]
  means = np.array(
    [
      VARIANCE_PRIOR[0],
      *[math.sqrt(2) + math.log(size) / 2] * size,
      NOISE_PRIOR[0],
    ]
  )
  deviations = np.array(
    [VARIANCE_PRIOR[1], *[math.sqrt(3)] * size, NOISE_PRIOR[1]]
  )
  # The density of the prior is flat where a few values cannot find its mode.
  defaults = [
    np.array([0.0, *[math.log(0.5 * math.sqrt(size))] * size, noise])
    for noise in START_NOISES
  ]

  def maximize(objective, initial, bounds):
    del initial

    def penalized(theta):
      value, gradient = objective(theta)
      distance = (theta - means) / deviations
      return value + distance @ distance / 2, gradient + distance / deviations

    starts = defaults if start is None else [start, *defaults]
    results = [
      optimize.minimize(
        penalized,
        np.clip(one, *bounds.T),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": MAX_ITERATIONS},
      )
      for one in starts
    ]
    best = min(results, key=lambda result: result.fun)
    return best.x, best.fun

  kernel = kernels.ConstantKernel(1.0, VARIANCE_BOUNDS) * kernels.Matern(
    np.ones(size), LENGTH_BOUNDS, nu=2.5
  ) + kernels.WhiteKernel(1e-4, NOISE_BOUNDS)
  regressor = GaussianProcessRegressor(kernel, optimizer=maximize)
  with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
    regressor.fit(points, values)
  theta = regressor.kernel_.theta
  lengths = np.exp(theta[1:-1])
  posterior = Posterior(
    points,
    regressor.alpha_.ravel(),
    regressor.L_,
    lengths,
    variance=math.exp(theta[0]),
    noise=math.exp(theta[-1]),
    values=values,
  )
  return posterior, theta


def log_expected_improvement(
  mean: np.ndarray, deviation: np.ndarray, best: float
) -> np.ndarray:
  """Returns the logarithm of the expected improvement over `best`, of maxima.

  Ament et al. 2023 (arXiv:2310.20708), whose gradient does not vanish where
  the improvement is unlikely.
  """
  return np.log(deviation) + log_h((mean - best) / deviation)


def log_h(z: np.ndarray) -> np.ndarray:
  """Returns the logarithm of `phi(z) + z Phi(z)`, of any z."""
  z = np.asarray(z, np.float64)
  density = -(z**2) / 2 - math.log(2 * math.pi) / 2
  near = np.maximum(z, -1.0)
  above = np.log(np.exp(-(near**2) / 2) / math.sqrt(2 * math.pi)
                 + near * special.ndtr(near))  # fmt: skip
  far = np.minimum(z, -1.0)
  # phi(z) + z Phi(z) = phi(z) (1 - |z| sqrt(pi / 2) erfcx(|z| / sqrt(2)))
  ratio = math.sqrt(math.pi / 2) * special.erfcx(-far / math.sqrt(2))
  # The difference cancels for large |z|, where it is 1 / z^2.
  difference = np.where(
    far > -1e3, 1 + far * ratio, 1 / np.maximum(far**2, 1.0)
  )
  below = density + np.log(np.maximum(difference, 1e-300))
  return np.where(z > -1, above, below)

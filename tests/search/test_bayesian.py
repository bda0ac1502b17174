"""The Gaussian process: its posterior, its gradients, its proposals."""

import math

import numpy as np
import optuna
import pytest
from scipy import integrate, optimize, stats
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from dlcore import search
from dlcore.search import bayesian, gaussian_process
from dlcore.search.unit_cube import Axis, Encoding

optuna.logging.set_verbosity(optuna.logging.ERROR)


def fitted(size=12, dimensions=3):
  random = np.random.default_rng(0)
  points = random.random((size, dimensions))
  values = np.sin(5 * points).sum(1) + 0.1 * random.standard_normal(size)
  values = (values - values.mean()) / values.std()
  return gaussian_process.fit(points, values)[0], points, values


def test_the_posterior_is_that_of_scikit_learn():
  posterior, points, values = fitted()
  kernel = kernels.ConstantKernel(posterior.variance) * kernels.Matern(
    posterior.lengths, nu=2.5
  )
  regressor = GaussianProcessRegressor(
    kernel, alpha=posterior.noise + 1e-10, optimizer=None
  ).fit(points, values)
  x = np.random.default_rng(1).random((20, 3))
  expected = regressor.predict(x, return_std=True)
  for ours, theirs in zip(
    posterior.mean_and_deviation(x), expected, strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


def test_gradients_are_those_of_finite_differences():
  posterior, _, _ = fitted()
  x = np.array([0.3, 0.6, 0.2])
  mean, deviation, of_mean, of_deviation = posterior.gradients(x)
  one = posterior.mean_and_deviation(x[None])
  np.testing.assert_allclose([mean, deviation], np.ravel(one), rtol=1e-9)

  def at(index):
    return lambda x: posterior.mean_and_deviation(x[None])[index][0]

  for index, gradient in enumerate((of_mean, of_deviation)):
    numeric = optimize.approx_fprime(x, at(index), 1e-7)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-6)


def test_believed_points_change_the_deviation_alone():
  posterior, _, _ = fitted()
  x = np.random.default_rng(2).random((2, 3))
  believed = posterior.with_believed(x)
  grid = np.random.default_rng(3).random((50, 3))
  before, after = (p.mean_and_deviation(grid) for p in (posterior, believed))
  np.testing.assert_allclose(after[0], before[0], rtol=1e-3, atol=1e-3)
  assert (after[1] <= before[1] + 1e-9).all()
  assert believed.mean_and_deviation(x)[1].max() < 0.2


@pytest.mark.parametrize("z", [-30.0, -5.0, -1.0, -0.5, 0.0, 2.0, 10.0])
def test_the_expected_improvement_is_the_integral(z):
  def improvement(t):
    return (t - 0) * stats.norm.pdf(t, loc=z)

  expected, _ = integrate.quad(improvement, 0, max(z, 0) + 12, epsabs=0)
  ours = gaussian_process.log_h(np.array(z))
  if z > -10:
    assert ours == pytest.approx(math.log(expected), rel=1e-6, abs=1e-8)
  # h(z) = phi(z) / z^2 (1 + O(z^-2)) far away.
  else:
    far = stats.norm.logpdf(z) - 2 * math.log(-z)
    assert ours == pytest.approx(far, rel=1e-4)


def test_warped_values_keep_their_order_and_bound_the_tail():
  values = np.array([3.0, 2.0, 1.0, 0.0, -1e9, np.nan, -np.inf])
  warped = bayesian.warp(values)
  assert (np.diff(warped[:5]) < 0).all()
  assert warped[5] <= warped[4]
  assert warped[6] <= warped[4]
  assert np.abs(warped).max() < 4
  good = np.array([1.0, 0.9, 0.8, 0.7])
  expected = (good - good.mean()) / good.std()
  np.testing.assert_allclose(bayesian.warp(good), expected, atol=0.4)


def test_encodings_return_what_they_took():
  space = search.parse(
    "a=log(1e-5,1) b=integer(3,9) c=integer(1,4096,log) d=x|y|z e=0.1|0.2|8"
  )
  encoding = Encoding({k: one.distribution() for k, one in space.items()})
  random = optuna.samplers.RandomSampler(seed=0)
  study = optuna.create_study(sampler=random)
  for _ in range(50):
    trial = study.ask({k: one.distribution() for k, one in space.items()})
    [point] = encoding.encode([trial.params])
    assert ((point >= 0) & (point <= 1)).all()
    decoded = encoding.decode(encoding.snap(point[None])[0])
    assert decoded.pop("a") == pytest.approx(trial.params["a"])
    expected = {k: v for k, v in trial.params.items() if k != "a"}
    assert decoded == expected


def test_all_levels_of_an_integer_are_as_likely():
  axis = Axis(optuna.distributions.IntDistribution(0, 3))
  values = [axis.decode(u) for u in np.linspace(0, 0.9999, 4000)]
  counts = np.bincount(values)
  assert counts.tolist() == pytest.approx([1000] * 4, abs=2)


def test_names_without_an_order_have_equal_distances():
  distribution = optuna.distributions.CategoricalDistribution(["x", "y", "z"])
  encoding = Encoding({"d": distribution})
  points = encoding.encode([{"d": name} for name in "xyz"])
  features = encoding.features(points)
  for i, j in ((0, 1), (0, 2), (1, 2)):
    assert np.linalg.norm(features[i] - features[j]) == pytest.approx(1)


def maximize(sampler, function, distributions, trials):
  study = optuna.create_study(sampler=sampler, direction="maximize")
  for _ in range(trials):
    trial = study.ask(distributions)
    study.tell(trial, function(trial.params))
  return study


SQUARE = {
  "x": optuna.distributions.FloatDistribution(0, 1),
  "y": optuna.distributions.FloatDistribution(1e-4, 1, log=True),
}


def bowl(params):
  return -((params["x"] - 0.3) ** 2) - (math.log10(params["y"]) + 2) ** 2


def test_it_finds_the_peak_of_a_bowl_in_few_trials():
  study = maximize(search.GaussianProcessSampler(seed=0), bowl, SQUARE, 25)
  assert study.best_value > -1e-3
  others = optuna.samplers.RandomSampler(seed=0)
  assert study.best_value > maximize(others, bowl, SQUARE, 25).best_value


def test_the_same_seed_proposes_the_same_points():
  first, second = (
    maximize(search.GaussianProcessSampler(seed=1), bowl, SQUARE, 10)
    for _ in range(2)
  )
  assert [t.params for t in first.trials] == [t.params for t in second.trials]


def test_points_that_are_asked_for_at_once_differ():
  study = maximize(search.GaussianProcessSampler(seed=0), bowl, SQUARE, 10)
  trials = [study.ask(SQUARE) for _ in range(4)]
  points = np.array(
    [[t.params["x"], math.log10(t.params["y"]) / 4] for t in trials]
  )
  distances = np.linalg.norm(points[:, None] - points, axis=-1)
  assert distances[np.triu_indices(4, 1)].min() > 1e-3


def test_failed_trials_count_as_the_worst():
  def function(params):
    return float("nan") if params["x"] > 0.5 else bowl(params)

  sampler = search.GaussianProcessSampler(seed=0)
  study = optuna.create_study(sampler=sampler, direction="maximize")
  for _ in range(25):
    trial = study.ask(SQUARE)
    value = function(trial.params)
    if math.isnan(value):
      study.tell(trial, state=optuna.trial.TrialState.FAIL)
    else:
      study.tell(trial, value)
  late = [t.params["x"] for t in study.trials[15:]]
  assert np.mean(np.array(late) > 0.5) < 0.4
  assert study.best_value > -0.01


def test_conditional_parameters_are_searched_where_they_exist():
  space = search.parse("kind=a|b x[kind=a]=uniform(0,1) y[kind=b]=uniform(0,1)")
  request = search.algorithms.Request(space, {}, 0, 0)
  study = optuna.create_study(
    sampler=search.ALGORITHMS["gp"].sampler(request), direction="maximize"
  )
  for _ in range(30):
    trial = study.ask()
    kind = trial.suggest_categorical("kind", ["a", "b"])
    name = "x" if kind == "a" else "y"
    at = trial.suggest_float(name, 0, 1)
    study.tell(trial, -((at - 0.7) ** 2) - (kind == "a"))
  assert study.best_params["kind"] == "b"
  assert study.best_value > -1e-3

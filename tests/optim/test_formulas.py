"""Every optimizer and schedule equals its paper's formula in float64."""

import jax
import numpy as np
import optax
import pytest
from campaigns.formulas import comparison, momentum, optimizers, schedules

from dlcore import optim
from dlcore.optim.adan import scale_by_adan
from dlcore.optim.bias import total_weight
from dlcore.optim.muon import orthogonalize, scale_by_muon
from dlcore.optim.prodigy import scale_by_prodigy
from dlcore.optim.radam import average_length, scale_by_radam

# Movements of 60 updates. Optax corrects the bias of averages in float32, which
# loses 9e-6 in the first updates.
TOLERANCE = 2e-5


def test_every_optimizer_and_schedule_has_a_formula():
  assert optimizers.FORMULAS.keys() == optim.OPTIMIZERS.keys()
  assert schedules.SCHEDULES.keys() == optim.SCHEDULES.keys()


# With default settings Optax's version of these is wrong. The settings of all
# are in the next test.
@pytest.mark.fast_cases("adan", "amsgrad", "prodigy", "radam")
@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_optimizer_equals_its_formula(name):
  assert comparison.optimizer_difference(name, {}) <= TOLERANCE


@pytest.mark.fast_cases("adamw", "lars", "muon", "nadam", "schedule_free_adamw")
@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_setting_of_an_optimizer_has_its_place_in_the_formula(name):
  settings = comparison.optimizer_settings(name)
  defaults = comparison.keywords(optim.OPTIMIZERS[name])
  assert defaults == comparison.keywords(optimizers.FORMULAS[name])
  assert all(settings[key] != defaults[key] for key in defaults)
  assert comparison.optimizer_difference(name, settings) <= TOLERANCE


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_setting_changes_the_movement_by_more_than_the_tolerance(name):
  start, gradients = comparison.problem()
  settings = comparison.optimizer_settings(name)
  movement = comparison.formula_movement(name, start, gradients, settings)
  defaults = comparison.keywords(optim.OPTIMIZERS[name])
  for key, default in defaults.items():
    other = comparison.formula_movement(
      name, start, gradients, {**settings, key: default}
    )
    differences = [
      comparison.difference(movement[path], other[path]) for path in movement
    ]
    assert max(differences) > 10 * TOLERANCE, key


@pytest.mark.fast_cases("radam-0.99999")
@pytest.mark.parametrize("decay", [0.9999, 0.99999])
@pytest.mark.parametrize("name", ["adan", "prodigy", "radam"])
def test_own_optimizers_are_exact_with_a_decay_near_1(name, decay):
  """Those of Optax differ by up to 7e-4."""
  settings = {
    "adan": {"b2": decay, "b3": decay},
    "prodigy": {"betas": (0.9, decay)},
    "radam": {"b2": decay},
  }
  assert comparison.optimizer_difference(name, settings[name]) <= 3e-6


@pytest.mark.parametrize("name", optim.SCHEDULES)
def test_every_schedule_equals_its_formula(name):
  assert comparison.schedule_difference(name, {}) <= 2e-6
  settings = comparison.schedule_settings(name)
  defaults = comparison.keywords(optim.SCHEDULES[name])
  assert defaults == comparison.keywords(schedules.SCHEDULES[name])
  assert all(settings[key] != defaults[key] for key in defaults)
  assert comparison.schedule_difference(name, settings) <= 2e-6


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("b2", [0.5, 0.8, 0.91, 0.97, 0.999, 0.99999])
def test_sums_of_weights_and_the_length_of_radam_lose_nothing(b2, traced):
  count = np.arange(1, 3000)
  exact = float(np.float32(b2))
  b2 = jax.numpy.float32(b2) if traced else exact
  weight = -np.expm1(count * np.log1p(exact - 1))
  np.testing.assert_allclose(total_weight(b2, count), weight, rtol=5e-7)
  # In float64 the difference loses 1e-10 of a length of 5 at most.
  longest = 2 / (1 - exact) - 1
  length = longest - 2 * count * exact**count / weight
  actual = average_length(b2, count)
  np.testing.assert_allclose(actual, length, rtol=1e-6)


def test_an_average_with_decay_0_is_its_latest_value():
  assert total_weight(0.0, np.int32(1)) == 1
  assert average_length(0.0, np.int32(1)) == 1


@pytest.mark.parametrize(
  ("ours", "counterpart"),
  [
    (scale_by_adan, optax.scale_by_adan),
    (scale_by_muon, optax.contrib.scale_by_muon),
    (scale_by_prodigy, optax.contrib.prodigy),
    (scale_by_radam, optax.scale_by_radam),
  ],
)
def test_states_have_the_layout_of_optax(ours, counterpart):
  params = {"kernel": np.ones((3, 2), np.float32)}
  state, reference = ours().init(params), counterpart().init(params)
  assert jax.tree.structure(state) == jax.tree.structure(reference)
  for leaf, expected in zip(
    jax.tree.leaves(state), jax.tree.leaves(reference), strict=True
  ):
    assert (leaf.shape, leaf.dtype) == (expected.shape, expected.dtype)


@pytest.mark.parametrize("shape", [(24, 5), (5, 24), (7, 7)])
def test_matrices_are_orthogonalized_with_the_precision_of_float32(shape):
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  # Compiled as in a training step, Optax's batched products lose 1e-5.
  actual = jax.jit(orthogonalize)(x)
  expected = momentum.newton_schulz(x.astype(float))
  error = np.abs(actual - expected).max() / np.abs(expected).max()
  assert error <= 3e-6

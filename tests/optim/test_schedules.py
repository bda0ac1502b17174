"""Every schedule of the table under the same tests, and each by its formula."""

import inspect
import math

import jax
import numpy as np
import pytest

from dlcore import optim
from dlcore.errors import UserError
from dlcore.optim.schedules import depends_on_steps

NAMES = list(optim.SCHEDULES)


def values(name, at, *, steps=100, **settings):
  rate = optim.schedule(name, learning_rate=2.0, steps=steps, **settings)
  return [float(rate(step)) for step in at]


@pytest.mark.parametrize("steps", [1, 2, 7, 5000])
@pytest.mark.parametrize("name", NAMES)
def test_the_peak_is_the_learning_rate(name, steps):
  rate = optim.schedule(name, learning_rate=0.1, steps=steps)
  # The warm-up of inverse_sqrt has 4,000 steps.
  curve = np.asarray(jax.jit(jax.vmap(rate))(np.arange(5001)))
  within = curve[: steps + 1] if depends_on_steps(name) else curve
  assert within.max() == pytest.approx(0.1, rel=1e-6)
  assert curve.min() >= 0
  assert np.isfinite(curve).all()
  assert curve.max() <= 0.1 * (1 + 1e-6)  # After the end neither.


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range_and_is_checked(name):
  settings = inspect.signature(optim.SCHEDULES[name]).parameters
  for key, parameter in settings.items():
    if key != "steps":
      limits = optim.RANGES.get(f"{name}.{key}") or optim.RANGES[key]
      default = parameter.default
      assert all(
        map(limits.holds, default if key == "boundaries" else [default])
      )
      with pytest.raises(UserError, match=f"expected {key} "):
        values(name, [], **{key: (0,) if key == "boundaries" else -1.0})


def test_only_these_allow_a_run_to_be_extended():
  assert [name for name in NAMES if not depends_on_steps(name)] == [
    "constant",
    "inverse_sqrt",
    "plateau",
    "step",
  ]


@pytest.mark.parametrize(
  "name", ["cosine", "linear", "polynomial", "trapezoid", "warmup_cosine"]
)
def test_warmup_starts_at_initial_and_the_run_ends_at_final(name):
  settings = {"warmup": 0.2, "initial": 0.1, "final": 0.05}
  rates = values(name, (0, 10, 20, 100, 200), **settings)
  np.testing.assert_allclose(rates, [0.2, 1.1, 2.0, 0.1, 0.1], rtol=1e-5)


CURVES = [
  ("constant", {}, {0: 2, 7: 2}),
  ("constant", {"warmup_steps": 4}, {0: 0, 1: 0.5, 4: 2, 9: 2}),
  ("plateau", {}, {0: 2, 900: 2}),
  ("step", {"boundaries": (3, 6), "factor": 0.5}, {2: 2, 4: 1, 7: 0.5}),
  ("step", {"boundaries": (6,), "warmup_steps": 4}, {1: 0.5, 5: 2, 7: 0.2}),
  ("linear", {}, {0: 2, 25: 1.5, 100: 0}),
  ("polynomial", {"power": 2.0}, {0: 2, 50: 0.5, 90: 0.02, 100: 0}),
  ("cosine", {}, {0: 2, 25: 1 + math.sqrt(0.5), 50: 1, 100: 0}),
  ("warmup_cosine", {}, {0: 0, 5: 1, 10: 2, 55: 1, 100: 0}),
  ("one_cycle", {}, {0: 0.2, 45: 2, 90: 0.2, 95: 0.101, 100: 0.002}),
  ("inverse_sqrt", {"warmup_steps": 4}, {0: 0, 2: 1, 4: 2, 16: 1, 64: 0.5}),
  ("trapezoid", {}, {0: 0, 5: 1, 10: 2, 80: 2, 90: 1, 100: 0}),
]


@pytest.mark.parametrize(("name", "settings", "points"), CURVES)
def test_the_curve_equals_the_formula(name, settings, points):
  rates = values(name, points, **settings)
  np.testing.assert_allclose(rates, list(points.values()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("cosin", {}, "did you mean 'cosine'"),
    ("cosine", {"warmupp": 0.1}, "'cosine' has no argument 'warmupp'"),
    ("cosine", {"warmupp": 0.1}, "did you mean 'warmup'"),
    ("constant", {"warmup": 0.1}, "did you mean 'warmup_steps'"),
    ("cosine", {"steps": None}, "expected steps >= 1\ngot None"),
    ("one_cycle", {"warmup": 0.6}, "at most 0.5"),
    ("trapezoid", {"warmup": 0.6, "cooldown": 0.6}, "0.6 \\+ 0.6"),
    ("cosine", {"final": 1.5}, "expected final"),
  ],
)
def test_unknown_names_and_values_out_of_range_are_errors(
  name, settings, message
):
  with pytest.raises(UserError, match=message):
    values(name, [], **settings)


def test_a_negative_peak_is_an_error():
  with pytest.raises(UserError, match="learning_rate"):
    optim.schedule("constant", learning_rate=-1.0, steps=1)

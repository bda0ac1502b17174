"""The learning rate range test: true losses, and what they suggest."""

import json

import jax
import numpy as np
import problem
import pytest

from dlcore import data, experiment, optim, tasks, training
from dlcore.errors import UserError
from dlcore.training import rate_test

STEPS, SEEDS = 12, (3, 4)
RATES = rate_test.exponential_rates(1e-4, 1.0, STEPS)
TEST = {"steps": 20, "low": 1e-5, "high": 10.0}


SOURCE = problem.source(50)


def parts():
  """Returns task, optimizer and settings with everything switched on."""
  task = tasks.classification(problem.Net(), label_smoothing=0.1)
  return (
    tasks.augmented(task, problem.AUGMENT),
    optim.create("adamw", learning_rate=RATES, clip_norm=1.0),
    {"penalty": optim.penalty(l2=1e-3)},
  )


def losses_alone(seed):
  """Returns the losses of one seed, `[T]`, trained by the ordinary step."""
  task, tx, settings = parts()
  step = jax.jit(training.make_step(task, tx, **settings))
  order, losses = data.shuffled(SOURCE.size, 16), []
  for index in range(STEPS):
    rows = order(seed, index).index
    batch = {**SOURCE.read(rows), "index": rows, "slot": np.arange(16)}
    if index == 0:
      state = training.init_state(task, tx, batch, seed=seed)
    state, log = step(state, batch)
    losses.append(float(log["loss"]))
  return losses


@pytest.mark.slow
def test_the_losses_of_each_seed_are_those_of_a_run_of_its_own():
  task, tx, settings = parts()
  settings |= {"seeds": SEEDS, "steps": STEPS, "batch_size": 16}
  losses = rate_test.measure_losses(
    task, tx, SOURCE, progress=False, **settings
  )
  assert losses.shape == (2, STEPS)
  assert (losses[0] != losses[1]).all()
  for seed, row in zip(SEEDS, losses, strict=True):
    # Other programs round differently, and large rates amplify it.
    np.testing.assert_allclose(row[:8], losses_alone(seed)[:8], rtol=1e-4)


def test_the_rates_rise_exponentially_from_end_to_end():
  rates = [float(RATES(step)) for step in range(STEPS)]
  np.testing.assert_allclose(rates, np.geomspace(1e-4, 1, STEPS), rtol=1e-5)


def test_the_average_has_no_bias_and_ends_where_a_run_diverges():
  losses = np.stack([np.full(40, 3.0), np.full(40, 1.0), np.full(40, 2.0)])
  losses[1, 25:] = 100.0
  losses[2, 30] = np.nan
  means = rate_test.smooth(losses)
  np.testing.assert_allclose(means[0], 3.0)
  np.testing.assert_allclose(means[1, :25], 1.0)
  assert np.isnan(means[1, 25:]).all()
  assert np.isfinite(means[2, :30]).all()
  assert np.isnan(means[2, 30:]).all()


def test_the_suggestions_are_the_steepest_and_a_tenth_of_the_lowest_rate():
  rates = np.geomspace(1e-6, 10, 141)
  position = np.log10(rates)
  # Falls around 1e-3, and rises again above 1e-1.
  means = 2 - np.tanh(2 * (position + 3)) + 0.5 * np.maximum(position + 1, 0)
  found = rate_test.suggest(rates, means)
  assert found is not None
  assert found.steepest == pytest.approx(1e-3, rel=0.2)
  assert found.minimum == pytest.approx(1e-2, rel=0.2)
  diverged = np.where(position > 0, np.nan, means)
  assert rate_test.suggest(rates, diverged) == found


def test_noise_before_the_fall_is_not_the_steepest_part():
  rates = np.geomspace(1e-6, 10, 141)
  position = np.log10(rates)
  means = 2 - np.tanh(2 * (position + 2)) + np.maximum(position + 1, 0)
  noisy = means + np.where(position < -3.5, 0.15 * (-1) ** np.arange(141), 0)
  found = rate_test.suggest(rates, noisy)
  assert found is not None
  assert found.steepest == pytest.approx(1e-2, rel=0.2)


@pytest.mark.parametrize(
  "means", [np.full(50, 2.0), np.linspace(2, 9, 50), np.full(50, np.nan)]
)
def test_a_loss_that_does_not_fall_suggests_nothing(means):
  assert rate_test.suggest(np.geomspace(1e-6, 1, 50), means) is None


def test_the_suggestion_is_the_geometric_mean_over_the_seeds():
  rates = np.geomspace(1e-6, 10, 141)

  def curve(lowest):
    return 1 + (np.log10(rates) - lowest) ** 2

  means = np.stack([curve(-2), curve(-1), np.full(141, 1.0)])
  curves = experiment.RateCurves(rates, means, (0, 1, 2))
  found = curves.suggestion()
  assert found is not None
  assert found.minimum == pytest.approx(10**-2.5, rel=0.05)
  assert "none" in experiment.rates_table(curves).splitlines()[3]


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"seeds": 0}, "--seeds of at least 1"),
    ({"steps": 5}, "--steps of at least 20"),
    ({"low": 0.0}, "--min above 0"),
    ({"high": 1e-9}, "--max above --min"),
    ({"high": float("inf")}, "--max above --min"),
  ],
)
def test_a_setting_out_of_range_is_refused(tiny, settings, message):
  with pytest.raises(UserError, match=message) as error:
    experiment.find_rate(tiny(), **{"seeds": 2, **TEST, **settings})
  assert len(error.value.lines) == 3


@pytest.mark.slow
def test_the_script_ends_with_a_flag_that_train_accepts(shell, tmp_path):
  small = (
    "--config.model.name=mlp",
    "--config.model.widths=(8,)",
    "--config.data.augment.shift=0",
    "--config.optim.name=sgd",
  )
  arguments = ("--seeds=2", "--steps=40", "--min=1e-4", "--max=1e3")
  answer = shell("lr_find", *arguments, *small)
  assert answer.code == 0, answer.err
  head, *rows = answer.out.splitlines()
  assert head.split()[:3] == ["seed", "steepest", "minimum/10"]
  assert [row.split()[0] for row in rows[:3]] == ["0", "1", "mean"]
  flag = rows[-1]
  assert flag.startswith("--config.optim.learning_rate=")
  assert 1e-4 < float(flag.partition("=")[2]) < 1e2
  [folder] = (tmp_path / "runs").iterdir()
  assert folder.name.endswith("_lr_find")
  page = (folder / "lr_find.html").read_text()
  assert "learning rate" in page
  assert "seed 1" in page
  assert "<svg" in page
  answer = shell("train", "--summary", flag, *small)
  assert answer.code == 0, answer.err
  assert json.loads(flag.partition("=")[2]) > 0


@pytest.mark.parametrize(
  "flags", [("--min=0",), ("--steps=few",), ("--config.optim.nmae=sgd",)]
)
def test_a_mistake_is_at_most_three_lines(shell, tmp_path, flags):
  answer = shell("lr_find", *flags)
  assert answer.code == 2
  assert len(answer.err) <= 3
  assert not (tmp_path / "runs").exists()

"""Early stopping and the plateau."""

import numpy as np
import problem
import pytest

from dlcore import storage
from dlcore.errors import UserError
from dlcore.training import Plateau, decisions


def valid_losses(workdir):
  return {row["step"]: row["loss"] for row in problem.lines(workdir, "valid")}


def overfit(workdir, **settings):
  """Trains too long, and validates on random labels."""
  random = problem.source(30, seed=3)
  labels = np.random.default_rng(7).permutation(random.arrays["label"])
  arrays = {**random.arrays, "label": labels}
  valid = random._replace(
    arrays=arrays, read=lambda rows: {k: v[rows] for k, v in arrays.items()}
  )
  settings = {"steps": 400, "eval_every": 5, "valid": valid, **settings}
  return problem.fit(workdir, augment=None, penalty=None, **settings)


@pytest.mark.slow
@pytest.mark.parametrize("on_disk", [True, False])
def test_patience_ends_the_run_and_returns_its_last_and_best_states(
  tmp_path, on_disk
):
  result = overfit(tmp_path, patience=4)
  losses = valid_losses(tmp_path)
  best = min(losses, key=losses.get)
  assert max(losses) == best + 20
  assert int(result.best.step) == best
  assert int(result.last.step) == best + 20
  assert storage.newest_step(tmp_path / "checkpoints") == best + 20
  if not on_disk:
    in_memory = overfit(None, patience=4)
    problem.assert_equal(in_memory, result)
  problem.assert_equal(overfit(tmp_path, patience=4), result)
  # The best state is the one of a run that ends there.
  shorter = overfit(None, steps=best)
  problem.assert_equal(shorter.last, result.best)


def test_a_run_without_patience_continues():
  assert int(overfit(None, steps=100).last.step) == 100


@pytest.mark.slow
def test_a_plateau_lowers_the_applied_rate_down_to_its_minimum(tmp_path):
  state = overfit(
    tmp_path,
    steps=150,
    plateau=Plateau(factor=0.5, patience=2, min_scale=0.1),
    rate=0.02,
  ).last
  losses = valid_losses(tmp_path)
  scale, best, since = 1.0, np.inf, 0
  scales = {0: 1.0}
  for step, loss in losses.items():
    if np.float32(loss) < best:
      best, since = np.float32(loss), step
    elif step - since >= 10:
      scale, since = max(scale * 0.5, 0.1), step
    scales[step] = scale
  assert float(state.rate_scale) == pytest.approx(scale)
  assert scale == 0.1
  for row in problem.lines(tmp_path, "train"):
    current = max(step for step in scales if step < row["step"])
    expected = 0.02 * scales[current]
    assert row["learning_rate"] == pytest.approx(expected), row


def improvements(values, min_delta=0.0):
  """Returns for each value whether it ends a series of bad evaluations."""
  now, counts = decisions.Decisions(), []
  for step, value in enumerate(values):
    now, _ = decisions.decide(
      now, step, {"loss": value}, "-loss", min_delta=min_delta
    )
    counts.append(int(now.bad_evals))
  return [count == 0 for count in counts]


def test_a_tie_is_no_improvement_but_the_later_step_is_the_best():
  assert improvements([1.0, 1.0, 1.0]) == [True, False, False]
  now, _ = decisions.decide(decisions.Decisions(), 10, {"loss": 1.0}, "-loss")
  now, is_best = decisions.decide(now, 20, {"loss": 1.0}, "-loss")
  assert is_best
  assert int(now.best_step) == 20
  assert decisions.is_exhausted(now, patience=1)
  assert not decisions.is_exhausted(now, patience=2)


def test_min_delta_counts_from_the_last_improvement():
  losses = [1.0, 0.95, 0.92, 0.85, 0.8]
  assert improvements(losses) == [True] * 5
  assert improvements(losses, 0.1) == [True, False, False, True, False]


def test_a_metric_that_is_nan_is_a_bad_evaluation_and_never_the_best():
  assert improvements([1.0, np.nan, 0.5]) == [True, False, True]
  now, best = decisions.decide(
    decisions.Decisions(), 1, {"loss": np.nan}, "-loss"
  )
  assert not best
  assert int(now.bad_evals) == 1


@pytest.mark.parametrize(
  "plateau", [Plateau(factor=10), Plateau(patience=0), Plateau(min_scale=-1)]
)
def test_a_plateau_out_of_range_is_refused(plateau):
  with pytest.raises(UserError, match="expected plateau"):
    problem.fit(plateau=plateau)


def test_a_plateau_never_raises_a_rate_that_roll_backs_lowered():
  plateau = Plateau(factor=0.5, patience=1, min_scale=0.5)
  now = decisions.Decisions(plateau_evals=np.int32(1))
  assert decisions.lower_rate(now, 0.25, plateau)[1] == np.float32(0.25)
  assert decisions.lower_rate(now, 0.8, plateau)[1] == np.float32(0.5)


@pytest.mark.parametrize(
  "setting",
  [{"patience": 3}, {"plateau": Plateau()}],
  ids=["patience", "plateau"],
)
def test_a_setting_that_validation_decides_needs_a_validation_split(setting):
  with pytest.raises(
    UserError, match=f"expected valid for {next(iter(setting))}"
  ):
    problem.fit(valid={}, **setting)


def test_a_metric_that_is_undefined_is_reported_once(caplog):
  state = decisions.Decisions()
  for step in (5, 10):
    state, best = decisions.decide(state, step, {"roc_auc": np.nan}, "roc_auc")
    assert not best
  assert caplog.text.count("roc_auc is not a number at step 5") == 1
  assert caplog.text.count("not a number") == 1

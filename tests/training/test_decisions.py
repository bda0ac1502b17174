"""Early stopping, the plateau, and that neither reads the test split."""

import json

import numpy as np
import problem
import pytest

from dlcore import optim, tasks, training
from dlcore.errors import UserError
from dlcore.training import Plateau, checkpoint


def valid_losses(workdir):
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return {r["step"]: r["loss"] for r in rows if r["split"] == "valid"}


def overfit(workdir, **settings):
  """Trains too long on what cannot be learned: labels at random."""
  random = problem.source(30, seed=3)
  labels = np.random.default_rng(7).permutation(random.arrays["label"])
  arrays = {**random.arrays, "label": labels}
  valid = random._replace(
    arrays=arrays, read=lambda rows: {k: v[rows] for k, v in arrays.items()}
  )
  settings = {"steps": 400, "eval_every": 5, "valid": valid, **settings}
  return problem.fit(workdir, augment=None, penalty=None, **settings)


@pytest.mark.parametrize("kept", [True, False])
def test_patience_ends_the_run_with_the_best_state(tmp_path, kept):
  state = overfit(tmp_path, patience=4)
  losses = valid_losses(tmp_path)
  best = min(losses, key=losses.get)
  assert max(losses) == best + 20
  assert int(state.step) == best
  assert checkpoint.newest(tmp_path / "checkpoints") == best + 20
  if not kept:
    state = overfit(None, patience=4)
    assert int(state.step) == best
  again = problem.leaves(overfit(tmp_path, patience=4))
  for path, leaf in problem.leaves(state).items():
    assert leaf.tobytes() == again[path].tobytes(), path


def test_without_patience_it_goes_on():
  assert int(overfit(None, steps=100).step) == 100


def test_a_plateau_lowers_the_rate_down_to_its_least(tmp_path):
  state = overfit(
    tmp_path,
    steps=150,
    plateau=Plateau(factor=0.5, patience=2, least=0.1),
    learning_rate=lambda step: 1.0,
  )
  losses = valid_losses(tmp_path)
  scale, best, since = 1.0, np.inf, 0
  scales = {0: 1.0}
  for step, loss in losses.items():
    if np.float32(loss) <= best:
      best, since = np.float32(loss), step
    elif step - since >= 10:
      scale, since = max(scale * 0.5, 0.1), step
    scales[step] = scale
  assert float(state.rate_scale) == pytest.approx(scale)
  assert scale == 0.1
  rows = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
  for row in rows:
    if row["split"] == "train":
      seen = max(step for step in scales if step < row["step"])
      assert row["learning_rate"] == pytest.approx(scales[seen]), row


@pytest.mark.parametrize("accumulate", [2, 4])
@pytest.mark.parametrize("compiler", ["jit", "pmap"])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(accumulate, compiler):
  import flax.linen as nn
  import jax

  class Plain(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      x = nn.relu(nn.Dense(8, name="dense_0")(x.reshape(x.shape[0], -1)))
      return nn.Dense(3, name="head")(x)

  def fit(parts, devices):
    return problem.leaves(
      training.fit(
        tasks.classification(Plain(), class_weights=(1.0, 3.0, 0.2)),
        optim.create("sgd", learning_rate=0.1),
        problem.source(64),
        steps=4,
        batch_size=32,
        accumulate=parts,
        compiler=compiler,
        devices=jax.local_devices()[:devices],
        progress=False,
      )
    )

  whole, cut = fit(1, 1), fit(accumulate, 4)
  for path, leaf in whole.items():
    if path.startswith(("params/", "metrics/")):
      scale = np.abs(leaf).max()
      assert np.abs(leaf - cut[path]).max() <= 1e-5 * scale, path


def test_parts_that_do_not_divide_a_batch_are_refused():
  with pytest.raises(UserError, match="16 / 3"):
    problem.fit(accumulate=3)

"""The features of a classifier learn to be near within a class."""

import jax
import numpy as np
import pytest

from dlcore import layers, models, tasks
from dlcore.contrastive_losses import supervised_contrastive_loss
from dlcore.errors import UserError

KEY = jax.random.key(0)
FEATURES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
BATCH = {"features": FEATURES, "label": np.array([0, 1, 0, 1, 2, 0], np.int32)}


def make(**settings):
  model = models.create("mlp", num_classes=3, widths=(4,), **settings)
  task = tasks.classification(model, input="features")
  return task, tasks.contrastive(task, 0.2)


def test_the_loss_is_that_of_the_input_of_the_head():
  task, other = make()
  params, state = task.init(KEY, BATCH)
  with layers.recorded_head_input() as found:
    task.predict(params, state, BATCH, KEY)
  values, weights = supervised_contrastive_loss(
    found.value, BATCH["label"], np.ones(6, bool), 0.2
  )
  total, weight = jax.jit(other.loss)(params, state, BATCH, KEY)[0]
  assert weight == weights.sum() == 5
  assert total == pytest.approx(float((values * weights).sum()), rel=1e-5)


def test_the_head_learns_nothing_and_the_rest_does():
  task, other = make()
  params, state = task.init(KEY, BATCH)
  gradient = jax.grad(lambda p: other.loss(p, state, BATCH, KEY)[0][0])(params)
  assert not np.any(gradient["head"]["kernel"])
  assert np.any(gradient["dense_0"]["kernel"])


def test_a_nan_in_padding_reaches_no_gradient():
  task, other = make()
  params, state = task.init(KEY, BATCH)
  padded = {
    "features": np.concatenate([FEATURES, [[np.nan] * 3]]).astype(np.float32),
    "label": np.append(BATCH["label"], 0).astype(np.int32),
    "mask": np.array([1, 1, 1, 1, 1, 1, 0], np.float32),
  }

  @jax.grad
  def gradient(p, batch):
    return other.loss(p, state, batch, KEY)[0][0]

  one, two = gradient(params, BATCH), gradient(params, padded)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    one,
    two,
  )


def test_mistakes_have_clear_errors():
  task, other = make()
  params, state = task.init(KEY, BATCH)
  small = {name: array[:3] for name, array in BATCH.items()}
  with pytest.raises(UserError, match="at least 4 examples"):
    other.loss(params, state, small, KEY)
  with pytest.raises(UserError, match="temperature above 0"):
    tasks.contrastive(task, -1.0)
  several = tasks.multilabel(
    models.create("mlp", num_classes=3, widths=(4,)), input="features"
  )
  labels = np.zeros((6, 3), np.float32)
  with pytest.raises(UserError, match="one class for every example"):
    tasks.contrastive(several).loss(
      params, state, {**BATCH, "label": labels}, KEY
    )

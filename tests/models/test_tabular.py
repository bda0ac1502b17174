"""The ensemble of MLPs for tables."""

import jax
import numpy as np
import pytest

from dlcore import models
from dlcore.models.tabular import assign

KEY = jax.random.key(0)
SETTINGS = {"num_classes": 3, "widths": (8,), "members": 4}


@pytest.mark.parametrize("size", [2, 8, 10])
def test_every_row_of_a_batch_has_one_member(size):
  seen = set()
  for seed in range(20):
    rows, position = assign(jax.random.key(seed), size, 4)
    np.testing.assert_array_equal(rows.ravel()[position], np.arange(size))
    owners = position // rows.shape[1]
    assert np.bincount(owners).max() <= rows.shape[1]
    seen |= set(zip(range(size), owners.tolist(), strict=True))
  # Another member in another step, so that each of them sees all rows.
  assert {member for row, member in seen if row == 0} == set(
    range(-(-size // rows.shape[1]))
  )


def test_evaluation_averages_the_members_and_adds_a_linear_layer():
  x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
  model = models.create("tabular", **SETTINGS)
  params = model.init(KEY, x, train=False)["params"]
  head = np.ones_like(params["head"]["kernel"])
  params["head"] = {**params["head"], "kernel": head}
  mlp = models.create("mlp", num_classes=3, widths=(8,))
  each = jax.vmap(lambda p: mlp.apply({"params": p}, x, train=False))(
    params["members"]
  )
  np.testing.assert_allclose(
    model.apply({"params": params}, x, train=False),
    x @ head + np.mean(each, axis=0),
    rtol=1e-5,
    atol=1e-5,
  )
  assert np.abs(each[0] - each[1]).max() > 0.01


def test_a_training_step_updates_every_member():
  x = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)
  model = models.create("tabular", **SETTINGS)
  variables = model.init(KEY, x, train=False)

  def loss(variables):
    logits = model.apply(variables, x, train=True, rngs={"dropout": KEY})
    return (logits**2).sum()

  gradient = jax.grad(loss)(variables)["params"]["members"]["head"]["kernel"]
  assert (np.abs(gradient).max(axis=(1, 2)) > 0).all()

"""What holds for every name in the table of models."""

import inspect

import jax
import jax.numpy as jnp
import pytest

from dlcore import models, trees

OF_TEXT = (models.Bert, models.GPT2, models.Llama)
UNPUBLISHED = {
  *("cnn", "lenet5", "mlp"),
  *("gru", "lstm", "rnn", "seq2seq"),
}


@pytest.mark.parametrize("name", models.PUBLISHED)
def test_models_have_the_published_numbers_of_parameters(name):
  published = models.PUBLISHED[name]
  settings = dict(published.settings)
  if "scan" in inspect.signature(models.MODELS[name]).parameters:
    settings["scan"] = True  # One block is traced in place of all.
  model = models.create(name, **settings)
  inputs = (jnp.zeros((1, 224, 224, 3)),)
  if isinstance(model, (*OF_TEXT, models.Transformer)):
    inputs = (jnp.zeros((1, 2), jnp.int32),)
    inputs *= 1 + isinstance(model, models.Transformer)
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), *inputs, train=False)
  )
  assert trees.count(shapes["params"]) == published.parameters


def test_every_named_size_has_a_published_number_of_parameters():
  assert set(models.PUBLISHED) == set(models.MODELS) - UNPUBLISHED

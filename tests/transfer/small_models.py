"""Small models with random variables, without the time of compiling `init`."""

import jax
import numpy as np

from dlcore import models, transfer

IDS = np.zeros((1, 4), np.int32)
TEXT = {
  "vocab_size": 11,
  "width": 8,
  "depth": 1,
  "num_heads": 2,
  "mlp_dim": 12,
  "max_length": 8,
}
"""Fields of the models of token ids."""


def initialized(model, *inputs):
  """Returns variables of a model, initialized by NumPy."""
  generator = np.random.default_rng(0)
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), *inputs, train=False)
  )
  return jax.tree.map(
    lambda leaf: generator.normal(size=leaf.shape).astype(np.float32), shapes
  )


def written(folder, name, *inputs, family="", **fields):
  """Writes a small model in published names; returns it and its variables."""
  model = models.create(name, **fields)
  variables = initialized(model, *(inputs or (IDS,)))
  transfer.save_pretrained(folder, model, variables, family=family)
  return model, variables

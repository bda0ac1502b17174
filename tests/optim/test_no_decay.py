"""Parameters that are not decayed by default, over all models."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import models, optim, trees

POSITIONS = {
  models.ViT: {"class_token", "position"},
}
FAST = {"bert_base", "gpt2", "llama3_2_1b", "mlp", "resnet18", "vit_tiny"}


def paths(model):
  image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  inputs = models.example_inputs(model, image)
  key = jax.random.key(0)
  variables = jax.eval_shape(
    lambda *x: model.init(key, *x, train=False), *inputs
  )
  return trees.flatten(variables["params"])


def is_excluded(path):
  return re.search(optim.NO_DECAY, path) is not None


@pytest.mark.fast_cases(*FAST)
@pytest.mark.parametrize("name", models.MODELS)
def test_vectors_class_tokens_and_position_embeddings_are_not_decayed(name):
  settings = {"vocab_size": 11} if name in ("gru", "lstm", "rnn") else {}
  model = models.create(name, num_classes=3, **settings)
  others = POSITIONS.get(type(model), set())
  leaves = paths(model)
  for path, leaf in leaves.items():
    # Those of an ensemble have an axis of its members.
    rank = leaf.ndim - path.startswith("members/")
    assert is_excluded(path) == (rank < 2 or path in others), path
  assert others <= leaves.keys()


def test_the_decay_of_a_model_that_contains_another_excludes_the_same():
  for path in ("class_token", "position"):
    assert is_excluded(path)
    assert is_excluded(f"encoder/{path}")
  for path in (
    "word_embedding/embedding",
    "position_embedding/embedding",
    "position_kernel",
    "position/kernel",
  ):
    assert not is_excluded(path)


def test_the_class_token_and_the_position_embedding_of_vit_keep_their_size():
  model = models.create("vit_tiny", num_classes=3, depth=1, width=6)
  params = jax.tree.map(
    lambda leaf: np.ones(leaf.shape, np.float32), trees.nest(paths(model))
  )
  tx = optim.create("adamw", learning_rate=1.0, weight_decay=0.5)
  zeros = optax.tree.zeros_like(params)
  updates, _ = jax.jit(tx.update)(zeros, tx.init(params), params)
  for path, update in trees.flatten(updates).items():
    kept = path.endswith(("bias", "scale", "class_token", "position"))
    np.testing.assert_array_equal(update, 0.0 if kept else -0.5, path)

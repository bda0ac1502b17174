"""The features of a model: the input of its output layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dlcore import layers, models

IMAGES = {
  **small.IMAGES,
  "cnn": {"stages": ((4,),), "dense": (8,), "dropout": 0.5},
  "resnet18": {"stages": (1, 1), "width": 4},
  "vit_tiny": {
    "patch_size": 4,
    "depth": 1,
    "width": 8,
    "num_heads": 2,
    "dropout": 0.5,
  },
}
TEXTS = {
  "bert_base": {
    "vocab_size": 11,
    "max_length": 6,
    "depth": 1,
    "width": 8,
    "num_heads": 2,
    "mlp_dim": 16,
    "head_dropout": 0.5,
  },
  "lstm": {"vocab_size": 11, "width": 8, "dropout": 0.5},
}


def initialized(name):
  """Returns a model of three classes, its variables, and inputs."""
  if name in TEXTS:
    inputs = jnp.array([[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 1, 2]])
  else:
    inputs = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
  model = models.create(name, num_classes=3, **{**IMAGES, **TEXTS}[name])
  init = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))
  return model, init(inputs), inputs


@pytest.mark.parametrize("name", [*IMAGES, *TEXTS])
@pytest.mark.fast_cases("cnn", "lstm")
def test_the_head_of_the_features_is_the_output(name):
  model, variables, inputs = initialized(name)
  with layers.recorded_head_input() as features:
    logits = model.apply(variables, inputs, train=False)
  head = variables["params"]["head"]
  np.testing.assert_allclose(
    features.value @ head["kernel"] + head["bias"], logits, atol=1e-5
  )
  with layers.replaced_input(features.path, features.value):
    replaced = model.apply(variables, jnp.zeros_like(inputs), train=False)
  np.testing.assert_allclose(replaced, logits, atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "bert_base"])
def test_dropout_before_the_head_stays_random(name):
  model, variables, inputs = initialized(name)
  with layers.recorded_head_input() as features:
    model.apply(variables, inputs, train=False)
  assert features.path != layers.HEAD

  def logits(key):
    with layers.replaced_input(features.path, features.value):
      return model.apply(
        variables,
        inputs,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": key},
      )[0]

  first, second = map(logits, jax.random.split(jax.random.key(2)))
  assert np.abs(first - second).max() > 1e-3


def test_layers_before_the_features_are_not_computed():
  model = models.create("mlp", num_classes=3, widths=(512, 512))
  inputs = jnp.ones((4, 16))
  variables = model.init(jax.random.key(0), inputs, train=False)

  def logits(variables, inputs, features):
    with layers.replaced_input("head", features):
      return model.apply(variables, inputs, train=False)

  compiled = jax.jit(logits).lower(variables, inputs, jnp.ones((4, 512)))
  flops = compiled.compile().cost_analysis()["flops"]
  assert flops < 4 * 512 * 3 * 2 * 1.5

"""The layers of a model are found in the order in which it uses them."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from dlcore import models, transfer, trees

IDS = jnp.zeros((2, 8), jnp.int32)
IMAGES = jnp.zeros((2, 32, 32, 3))
BLOCKS = {"width": 8, "depth": 12, "num_heads": 2, "mlp_dim": 8}
TEXT = {"vocab_size": 50, "max_length": 16, **BLOCKS}
NUMBERED = [f"block_{i}" for i in range(12)]
EXPECTED = {
  "bert_base": (IDS, TEXT, ["word_embedding", *NUMBERED, "pooler", "head"]),
  "vit_tiny": (
    IMAGES, {"patch_size": 8, **BLOCKS}, ["patches", *NUMBERED, "head"],
  ),
  "resnet18": (
    IMAGES, {"width": 4}, ["stem", *(f"stage_{i}" for i in range(4)), "head"],
  ),
  "cnn": (IMAGES, {}, ["conv_0", "conv_1", "dense_0", "head"]),
  "lstm": (
    IDS, {"vocab_size": 50, "width": 4, "depth": 2, "bidirectional": True},
    ["word_embedding", "recurrent/layer_0", "recurrent/layer_1", "head"],
  ),
  "mlp": (
    jnp.zeros((2, 5)), {"widths": (4, 4)}, ["dense_0", "dense_1", "head"],
  ),
  "ngram_bag": (IDS, {"buckets": 8}, ["ngram_embedding", "head"]),
}  # fmt: skip


def layers_of(model, inputs):
  shapes = dict(
    jax.eval_shape(lambda: model.init(jax.random.key(0), inputs, train=False))
  )
  params = shapes.pop("params")

  def outputs(params):
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return model.apply({"params": params, **zeros}, inputs, train=False)

  return transfer.layer_order(outputs, params), params


@pytest.mark.parametrize("name", [*EXPECTED, "vit_tiny, remat"])
def test_layers_are_in_the_order_of_their_use(name):
  name, _, more = name.partition(", ")
  inputs, settings, expected = EXPECTED[name]
  settings = {**settings, **({more: True} if more else {})}
  model = models.create(name, num_classes=3, **settings)
  layers, params = layers_of(model, inputs)
  assert [layer.name for layer in layers] == expected
  assert sorted(path for layer in layers for path in layer.paths) == sorted(
    trees.flatten(params)
  )


def test_vectors_belong_to_the_layer_before_and_names_do_not_decide():
  class Model(nn.Module):
    """Whose names are in no order."""

    @nn.compact
    def __call__(self, x, *, train):
      x = nn.Dense(4, name="z")(x)
      x = nn.LayerNorm(name="y")(x)
      x = nn.jit(nn.Dense)(4, name="block_1")(x)
      x = nn.Dense(4, name="block_0")(x)
      return x + self.param("bias", nn.initializers.zeros_init(), (4,))

  layers, _ = layers_of(Model(), jnp.zeros((1, 3)))
  assert [layer.name for layer in layers] == ["z", "block_1", "block_0"]
  assert [layer.is_numbered for layer in layers] == [False, True, True]
  assert set(layers[0].paths) == {"z/kernel", "z/bias", "y/scale", "y/bias"}
  assert set(layers[2].paths) == {"block_0/kernel", "block_0/bias", "bias"}


def test_parameters_without_a_use_come_last():
  layers = transfer.layer_order(
    lambda params: params["b"] @ params["b"],
    {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 2))},
  )
  assert [layer.name for layer in layers] == ["b", "a"]

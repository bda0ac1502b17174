"""Attention maps: the softmax of the dot products, of queries over keys."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from dlcore import models

KEY = jax.random.key(0)
SIZES = {"vocab_size": 30, "width": 8, "depth": 2, "num_heads": 2}
IDS = np.array([[4, 9, 7, 12, 3, 0], [5, 8, 6, 1, 2, 10]], np.int32)
MASK = np.array([[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]], np.int32)


def make(name, arguments, **settings):
  model = models.create(name, **settings)
  init = jax.jit(lambda key: model.init(key, IDS, **arguments, train=False))
  variables = init(KEY)
  # Larger weights than the initial ones, so that the maps are not uniform.
  return model, jax.tree.map(lambda leaf: 4 * leaf, variables)


def attention_maps(name, arguments, max_tokens=9, **settings):
  model, variables = make(name, arguments, **settings)
  return models.attention_maps(
    model, variables, IDS, arguments, max_tokens=max_tokens
  )


def normalized(x, params):
  x = x - x.mean(-1, keepdims=True)
  x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
  return x * params["scale"] + params["bias"]


def test_the_first_map_of_gpt2_is_that_of_its_formula():
  model, variables = make("gpt2", {}, max_length=6, **{**SIZES, "depth": 1})
  maps = models.attention_maps(model, variables, IDS, {}, max_tokens=5)
  params = jax.tree.map(lambda p: np.asarray(p, np.float64), variables)
  params = params["params"]
  x = params["word_embedding"]["embedding"][IDS]
  x = x + params["position_embedding"]["embedding"][:6]
  block = params["block_0"]
  x = normalized(x, block["attention_norm"])
  query, key = (
    (x @ layer["kernel"] + layer["bias"]).reshape(2, 6, 2, 4)
    for layer in (block["attention"][name] for name in ("query", "key"))
  )
  logits = np.einsum("BTHK,BSHK->BHTS", query, key) / 2
  weights = np.exp(logits) * np.tri(6)
  weights /= weights.sum(-1, keepdims=True)
  assert maps.shape == (1, 2, 2, 5, 5)
  assert np.abs(weights - 1 / np.arange(1, 7)[:, None]).max() > 0.1
  np.testing.assert_allclose(maps[0], weights[..., :5, :5], atol=1e-5)


@pytest.mark.slow
def test_padding_gets_no_attention_in_bert():
  settings = {**SIZES, "num_classes": 3, "max_length": 6}
  maps = attention_maps("bert_base", {"attention_mask": MASK}, **settings)
  assert maps.shape == (2, 2, 2, 6, 6)
  np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
  assert (maps[:, 0, ..., 5] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize(
  ("name", "settings", "shape"),
  [
    ("seq2seq", {"vocab_size": 30, "width": 8}, (1, 2, 1, 4, 6)),
    ("transformer_base", {**SIZES, "max_length": 6}, (2, 2, 2, 4, 6)),
  ],
)
def test_maps_of_encoder_decoders_are_from_target_to_source(
  name, settings, shape
):
  target = IDS[:, :4]
  arguments = {"decoder_input_ids": target, "attention_mask": MASK}
  maps = attention_maps(name, arguments, **settings)
  assert maps.shape == shape
  np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
  assert (maps[:, 0, ..., 5] == 0).all()


@pytest.mark.slow
def test_a_model_without_attention_has_no_maps():
  settings = {"num_classes": 3, "vocab_size": 30, "width": 4}
  assert attention_maps("gru", {"attention_mask": MASK}, **settings) is None


def test_a_model_without_intermediate_activations_has_no_maps():
  class Plain(nn.Module):
    def __call__(self, x, *, train):
      return x

  assert models.attention_maps(Plain(), {}, IDS, {}, max_tokens=3) is None

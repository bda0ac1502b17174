"""Properties of all named models."""

import inspect

import jax
import jax.numpy as jnp
import pytest

from dlcore import models, trees

LANGUAGE_MODELS = (models.Bert, models.GPT2, models.Llama)
FAST = (
  *("bert_base", "distilbert", "gpt2", "llama3_2_1b", "marian", "minilm_l6"),
  *("qwen2_0_5b", "smollm_135m", "transformer_base", "vit_tiny"),
  *("convnext_tiny", "efficientnet_lite0", "mixer", "resnet18", "vgg11"),
)
"""One of each class and head whose `init` is traced within a second."""

UNPUBLISHED = {
  *("cnn", "lenet5", "mlp", "tabular"),
  *("gru", "lstm", "rnn", "seq2seq"),
  *("ngram_bag", "ngram_cnn", "text_cnn"),
}


@pytest.mark.fast_cases(*FAST)
@pytest.mark.parametrize("name", models.PUBLISHED)
def test_models_have_the_published_parameter_counts(name):
  published = models.PUBLISHED[name]
  settings = dict(published.settings)
  if "scan" in inspect.signature(models.MODELS[name]).parameters:
    settings["scan"] = True  # Only one block is traced.
  model = models.create(name, **settings)
  inputs = (jnp.zeros((1, 224, 224, 3)),)
  if isinstance(model, (*LANGUAGE_MODELS, models.Transformer)):
    inputs = (jnp.zeros((1, 2), jnp.int32),)
    inputs *= 1 + isinstance(model, models.Transformer)
  shapes = jax.eval_shape(
    lambda: model.init(jax.random.key(0), *inputs, train=False)
  )
  assert trees.count(shapes["params"]) == published.parameters


def test_every_named_model_has_a_published_parameter_count():
  assert set(models.PUBLISHED) == set(models.MODELS) - UNPUBLISHED

"""Output layers of decoder-only models."""

import jax.numpy as jnp
from flax import linen as nn

from dlcore.models.output_layers import embedding_logits, output_layer
from dlcore.typing import Array

HEADS = ("classifier", "lm")


def decoder_output(
  model: nn.Module,
  x: Array,
  embedding: Array | None,
  attention_mask: Array | None,
) -> Array:
  """Applies the head of a decoder; called within its compact method.

  Args:
    model: has the fields `head`, `num_classes`, `vocab_size` and `dtype`.
    x: `[B, T, D]`.
    embedding: `[V, D]`, the weights of a tied head "lm"; None if not tied.
    attention_mask: `[B, T]`, 0 for padding; None if there is no padding.

  Returns:
    float32 `[B, T, V]` for "lm" and `[B, C]` for "classifier"; `x` for None.
  """
  if model.head is None:
    return x
  if model.head == "lm" and embedding is not None:
    return embedding_logits(x, embedding)
  settings = {"use_bias": False, "kernel_init": nn.initializers.normal(0.02)}
  if model.head == "lm":
    return output_layer(model, model.vocab_size, **settings)(x)
  x = last_token(x, attention_mask)
  return output_layer(model, model.num_classes, **settings)(x)


def last_token(x: Array, attention_mask: Array | None) -> Array:
  """Selects the last token without padding, `[B, T, D]` to `[B, D]`."""
  if attention_mask is None:
    return x[:, -1]
  positions = jnp.arange(x.shape[1]) * attention_mask.astype(bool)
  return x[jnp.arange(x.shape[0]), positions.max(1)]

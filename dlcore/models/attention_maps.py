"""Attention weights of a model, for a few examples."""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dlcore.typing import Array, PyTree

ATTENTIONS = ("cross_attentions", "attentions")
"""Intermediate activations with weights `[B, H, T, S]` of each block; the first
that a model has is returned."""


def attention_maps(
  model: Any,
  variables: PyTree,
  input_ids: Array,
  arguments: Mapping[str, Array],
  *,
  max_tokens: int,
) -> np.ndarray | None:
  """Returns the attention weights of all blocks in eval mode.

  Those of an encoder-decoder are its weights from target to source. Only one
  block's weights of the whole length are in memory at a time.

  Args:
    model: `apply(variables, input_ids, **arguments, train=False,
      intermediates=True)` returns an output and a dict.
    variables: of the model.
    input_ids: int `[B, S]`.
    arguments: further inputs of the model, such as `attention_mask`.
    max_tokens: number of queries and keys that are kept, the first ones.

  Returns:
    float32 `[L, B, H, T, S]`, with T and S of at most `max_tokens`; None for a
    model without attention weights.
  """
  if "intermediates" not in inspect.signature(type(model).__call__).parameters:
    return None

  @jax.jit
  def apply(variables: PyTree, ids: Array, arguments: Mapping[str, Array]):
    _, kept = model.apply(
      variables, ids, **arguments, train=False, intermediates=True
    )
    weights = next((kept[name] for name in ATTENTIONS if name in kept), ())
    return [block[..., :max_tokens, :max_tokens] for block in weights]

  weights = jax.device_get(apply(variables, input_ids, dict(arguments)))
  return np.stack(weights) if weights else None

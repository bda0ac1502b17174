"""Feature maps of the convolutions of a model."""

from typing import Any

import jax
from flax import linen as nn

from dlcore.layers import Conv
from dlcore.typing import Array, PyTree

CONVOLUTIONS = (Conv, nn.Conv)


def feature_maps(
  model: Any, variables: PyTree, images: Array
) -> dict[str, Array]:
  """Returns the outputs of all convolutions in eval mode, in call order.

  Args:
    model: a Linen module that is called as `(x, train=...)`.
    variables: variables of the model.
    images: input of the model, float `[B, Y, X, C]`.

  Returns:
    `[B, Y', X', C']` by path, such as `"stage_0_block_0/conv_1"`; empty for a
    model without convolutions.
  """
  paths: list[str] = []

  def is_convolution(module: nn.Module, method: str) -> bool:
    matches = isinstance(module, CONVOLUTIONS) and method == "__call__"
    if matches:
      paths.append("/".join(module.path))
    return matches

  @jax.jit
  def apply(variables, images):
    _, state = model.apply(
      variables,
      images,
      train=False,
      capture_intermediates=is_convolution,
      mutable=["intermediates"],
    )
    return state.get("intermediates", {})

  outputs = apply(variables, images)
  return {path: _at(outputs, path) for path in dict.fromkeys(paths)}


def _at(tree: PyTree, path: str) -> Array:
  for name in path.split("/"):
    tree = tree[name]
  return tree["__call__"][0]

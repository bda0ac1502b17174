"""What the convolutions of a model make of images."""

from typing import Any

import jax
from flax import linen as nn

from dlcore.layers import Conv
from dlcore.typing import Array, PyTree

CONVOLUTIONS = (Conv, nn.Conv)


def feature_maps(
  model: Any, variables: PyTree, images: Array
) -> dict[str, Array]:
  """Returns the output of every convolution in evaluation, in their order.

  Args:
    model: any Linen module that is called as `(x, train=...)`.
    variables: of the model.
    images: what the model takes, float `[B, Y, X, C]`.

  Returns:
    `[B, Y', X', C']` by the path of the convolution, such as
    `"stage_0_block_0/conv_1"`; empty for a model without any.
  """
  order: list[str] = []

  def is_convolution(module: nn.Module, method: str) -> bool:
    found = isinstance(module, CONVOLUTIONS) and method == "__call__"
    if found:
      order.append("/".join(module.path))
    return found

  @jax.jit
  def apply(variables, images):
    _, seen = model.apply(
      variables,
      images,
      train=False,
      capture_intermediates=is_convolution,
      mutable=["intermediates"],
    )
    return seen.get("intermediates", {})

  found = apply(variables, images)
  return {path: _at(found, path) for path in dict.fromkeys(order)}


def _at(tree: PyTree, path: str) -> Array:
  for part in path.split("/"):
    tree = tree[part]
  return tree["__call__"][0]

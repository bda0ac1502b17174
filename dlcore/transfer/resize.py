"""Published arrays brought to another shape where that keeps their sense.

Each takes an array in our layout and the shape that is wanted, and returns
the array in that shape; a `ValueError` says that it cannot.
"""

import math
from collections.abc import Callable

import jax
import numpy as np


def channels(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Changes the input channels of kernels `[Y, X, C, F]` from 3 to 1 or back.

  A grey picture then gives what it gave as a picture of three equal colours,
  but for rounding: their kernels are summed, or one is shared out over three.

  Raises:
    ValueError: other sizes differ.
  """
  if len(shape) != 4 or array.ndim != 4:
    raise ValueError("only kernels of images take other channels")
  change = (array.shape[2], shape[2])
  others = array.shape[:2] + array.shape[3:] == shape[:2] + shape[3:]
  if not others:
    raise ValueError(
      f"kernels {list(array.shape)} become {list(shape)} by no rule: only "
      "input channels change"
    )
  if change not in CHANNELS:
    raise ValueError("only 3 input channels become 1, or 1 becomes 3")
  if change == (3, 1):
    return array.sum(axis=2, keepdims=True, dtype=np.float32)
  return np.repeat(array.astype(np.float32) / 3, 3, axis=2)


CHANNELS = {
  (3, 1): "3 input channels are summed: grey is three equal colours",
  (1, 3): "1 input channel is shared out over 3: grey is their mean",
}
"""What is said of the two changes."""


def positions(
  tokens: int = 1, method: str = "bicubic"
) -> Callable[[np.ndarray, tuple[int, ...]], np.ndarray]:
  """Makes what resizes a table of the positions in a square picture.

  Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.2: the rows are laid
  out as the picture is, and interpolated between.

  Args:
    tokens: rows before those of the patches, which stay as they are.
    method: of `jax.image.resize`.

  Returns:
    `(array, shape) -> array`: `[..., tokens + Y * X, D]` to another number of
    rows, Y = X in both.
  """

  def resize(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    old = math.isqrt(max(array.shape[-2] - tokens, 0))
    new = math.isqrt(max(shape[-2] - tokens, 0))
    rest = (*shape[:-2], shape[-1])
    if (
      (*array.shape[:-2], array.shape[-1]) != rest
      or (old**2, new**2) != (array.shape[-2] - tokens, shape[-2] - tokens)
      or not old * new
    ):
      raise ValueError("only tables of square pictures are resized")
    first, grid = np.split(array.astype(np.float32), [tokens], axis=-2)
    grid = grid.reshape(*shape[:-2], old, old, shape[-1])
    wanted = (*shape[:-2], new, new, shape[-1])
    grid = np.asarray(jax.image.resize(grid, wanted, method))
    grid = grid.reshape(*shape[:-2], new**2, shape[-1])
    return np.concatenate([first, grid], axis=-2)

  return resize

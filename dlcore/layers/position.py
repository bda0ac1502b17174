"""Positions: tables of sines, rotations, resized tables, distances."""

import jax.numpy as jnp
import numpy as np

from dlcore.errors import UserError, lookup
from dlcore.typing import Array


def sinusoidal(
  max_length: int, width: int, *, sines_first: bool = False
) -> np.ndarray:
  """Returns sines and cosines of positions, at geometric wavelengths.

  Args:
    max_length: number of positions.
    width: D.
    sines_first: whether all sines come first, as in the published weights of
      Marian, instead of taking turns with the cosines.

  Returns:
    float32 `[T, D]`.

  Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
  """
  pair = np.arange(width) // 2
  angles = np.arange(max_length)[:, None] / 10_000.0 ** (2 * pair / width)
  sines, cosines = np.sin(angles[:, 0::2]), np.cos(angles[:, 1::2])
  if sines_first:
    return np.concatenate([sines, cosines], 1).astype(np.float32)
  table = np.empty((max_length, width), np.float32)
  table[:, 0::2], table[:, 1::2] = sines, cosines
  return table


def rotary(
  x: Array,
  positions: Array,
  *,
  rope_theta: float = 10_000.0,
  frequencies: Array | None = None,
) -> Array:
  """Turns pairs of elements by angles proportional to their position.

  Inner products of queries and keys so depend on their distance alone. A pair
  is an element of the first half of a head and that of the second half, as in
  the published weights of Llama, not two neighbours as in the paper.

  Args:
    x: `[B, T, H, K]`, K even.
    positions: int `[T]` or `[B, T]`.
    rope_theta: the wavelengths grow up to 2 pi theta.
    frequencies: `[K / 2]`, radians per position, instead of `rope_theta`.

  Returns:
    An array of the shape and dtype of `x`; the angles are float32.

  Su et al. 2021, arXiv:2104.09864.
  """
  if frequencies is None:
    frequencies = rotary_frequencies(x.shape[-1], rope_theta)
  angles = positions[..., None].astype(jnp.float32) * frequencies
  sine, cosine = jnp.sin(angles)[..., None, :], jnp.cos(angles)[..., None, :]
  first, second = jnp.split(x.astype(jnp.float32), 2, -1)
  turned = (first * cosine - second * sine, second * cosine + first * sine)
  return jnp.concatenate(turned, -1).astype(x.dtype)


def rotary_frequencies(
  head_dim: int, rope_theta: float = 10_000.0
) -> np.ndarray:
  """Returns float32 `[K / 2]`, the angles in radians of one position.

  Raises:
    UserError: `head_dim` is odd, or `rope_theta` is not above 0.
  """
  if head_dim % 2:
    raise UserError(
      "expected heads of an even size to rotate", f"got {head_dim}"
    )
  if not 0 < rope_theta < float("inf"):
    raise UserError("expected rope_theta > 0", f"got {rope_theta}")
  powers = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
  return (1 / np.float32(rope_theta) ** powers).astype(np.float32)


def relative_position_bucket(
  relative: Array,
  *,
  bidirectional: bool,
  num_buckets: int = 32,
  max_distance: int = 128,
) -> Array:
  """Sorts distances into buckets: each its own if near, then logarithmic.

  Args:
    relative: int array, the position of the key less that of the query.
    bidirectional: whether later keys have half of the buckets; otherwise all
      of them are in the bucket of distance 0.
    num_buckets: their number.
    max_distance: from which on all distances share a bucket.

  Returns:
    An int32 array of the shape of `relative`, from 0 to `num_buckets - 1`.

  Raffel et al. 2020, arXiv:1910.10683, section 2.1.
  """
  first = 0
  if bidirectional:
    num_buckets //= 2
    first = jnp.where(relative > 0, num_buckets, 0)
    distance = jnp.abs(relative)
  else:
    distance = jnp.maximum(-relative, 0)
  exact = num_buckets // 2
  far = jnp.log(jnp.maximum(distance, 1).astype(jnp.float32) / exact)
  far = far / np.log(max_distance / exact) * (num_buckets - exact)
  far = jnp.minimum(exact + far.astype(jnp.int32), num_buckets - 1)
  return (first + jnp.where(distance < exact, distance, far)).astype(jnp.int32)


def resize_table(
  table: Array,
  old: tuple[int, int],
  new: tuple[int, int],
  *,
  method: str = "bicubic",
  leading: int = 0,
) -> Array:
  """Resizes a table of the positions of an image to another grid.

  Args:
    table: `[leading + Y * X, D]`, row by row.
    old: its rows and columns, Y and X.
    new: those wanted.
    method: "bicubic", as transformers resizes tables (PyTorch's bicubic);
      "antialiased", as timm does (bicubic, over a wider neighbourhood where
      the grid shrinks); or "bilinear", as the original release of ViT does
      (corners are mapped onto corners).
    leading: number of rows, such as that of a class token, that stay.

  Returns:
    `[leading + Y' * X', D]`, of the dtype of `table`.

  Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.2.
  """
  if tuple(old) == tuple(new):
    return table
  matrix = lookup(RESIZE, method, "method of resizing")
  rows, columns = (matrix(*sizes) for sizes in zip(old, new, strict=True))
  table = jnp.asarray(table)
  grid = table[leading:].astype(jnp.float32).reshape(*old, -1)
  resized = jnp.einsum(
    "ay,bx,yxd->abd",
    rows.astype(np.float32),
    columns.astype(np.float32),
    grid,
    precision="highest",
  )
  resized = resized.reshape(-1, grid.shape[-1]).astype(table.dtype)
  return jnp.concatenate([table[:leading], resized])


def _bicubic(old: int, new: int) -> np.ndarray:
  """Returns `[new, old]`: four neighbours, the edges repeated."""
  centre = (np.arange(new) + 0.5) * old / new - 0.5
  first = np.floor(centre).astype(int) - 1
  matrix = np.zeros((new, old))
  for tap in range(4):
    near = np.clip(first + tap, 0, old - 1)
    share = _cubic(centre - (first + tap), -0.75)
    np.add.at(matrix, (np.arange(new), near), share)
  return matrix


def _antialiased(old: int, new: int) -> np.ndarray:
  """Returns `[new, old]`: neighbours by the coarser grid, none past edges."""
  centre = (np.arange(new) + 0.5) * old / new - 0.5
  distance = np.arange(old) - centre[:, None]
  matrix = _cubic(distance / max(old / new, 1), -0.5)
  return matrix / matrix.sum(1, keepdims=True)


def _bilinear(old: int, new: int) -> np.ndarray:
  """Returns `[new, old]`: two neighbours, from corner to corner."""
  centre = np.linspace(0, old - 1, new)
  return np.maximum(0, 1 - np.abs(np.arange(old) - centre[:, None]))


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
  """Returns Keys' kernel of cubic convolution at distances `x`."""
  x = np.abs(x)
  near = ((a + 2) * x - (a + 3)) * x**2 + 1
  far = a * (((x - 5) * x + 8) * x - 4)
  return np.where(x <= 1, near, np.where(x < 2, far, 0))


RESIZE = {
  "antialiased": _antialiased,
  "bicubic": _bicubic,
  "bilinear": _bilinear,
}

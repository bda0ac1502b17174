"""Position encodings: sinusoidal, rotary, resized tables and buckets."""

import jax.numpy as jnp
import numpy as np

from dlcore.errors import UserError, lookup
from dlcore.typing import Array


def sinusoidal(
  max_length: int, width: int, *, sines_first: bool = False
) -> np.ndarray:
  """Returns the sinusoidal position encoding.

  Args:
    max_length: number of positions, T.
    width: D.
    sines_first: whether all sines precede the cosines, as in the published
      weights of Marian. Otherwise they alternate.

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
  frequencies: Array | np.ndarray | None = None,
) -> Array:
  """Applies rotary position embeddings: rotates pairs by position.

  Dot products of queries and keys then depend on their distance only. A pair
  consists of one element of the first half of a head and one of the second
  half, as in the published weights of Llama, not of neighbors as in the paper.

  Args:
    x: `[B, T, H, K]`, K even.
    positions: int `[T]` or `[B, T]`.
    rope_theta: base of the wavelengths, which are below 2 pi rope_theta.
    frequencies: `[K / 2]`, radians per position, instead of `rope_theta`.

  Returns:
    An array with the shape and dtype of `x`; angles are float32.

  Su et al. 2021, arXiv:2104.09864.
  """
  if frequencies is None:
    frequencies = rotary_frequencies(x.shape[-1], rope_theta)
  angles = positions[..., None].astype(jnp.float32) * frequencies
  sine, cosine = jnp.sin(angles)[..., None, :], jnp.cos(angles)[..., None, :]
  first, second = jnp.split(x.astype(jnp.float32), 2, -1)
  rotated = (first * cosine - second * sine, second * cosine + first * sine)
  return jnp.concatenate(rotated, -1).astype(x.dtype)


def rotary_frequencies(
  head_dim: int, rope_theta: float = 10_000.0
) -> np.ndarray:
  """Returns the frequencies of rotary embeddings in radians per position.

  Args:
    head_dim: K.
    rope_theta: see `rotary`.

  Returns:
    float32 `[K / 2]`.

  Raises:
    UserError: `head_dim` is odd or `rope_theta` is not positive and finite.
  """
  if head_dim % 2:
    raise UserError(
      "expected an even head_dim for rotary embeddings", f"got {head_dim}"
    )
  if not 0 < rope_theta < float("inf"):
    raise UserError("expected a finite rope_theta > 0", f"got {rope_theta}")
  powers = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
  return (1 / np.float32(rope_theta) ** powers).astype(np.float32)


def relative_position_bucket(
  relative: Array,
  *,
  bidirectional: bool,
  num_buckets: int = 32,
  max_distance: int = 128,
) -> Array:
  """Returns buckets of relative positions: exact if near, then logarithmic.

  Args:
    relative: int array, position of the key minus position of the query.
    bidirectional: whether half of the buckets are for later keys. Otherwise
      later keys share the bucket of distance 0.
    num_buckets: number of buckets.
    max_distance: distances of at least this share the last bucket.

  Returns:
    int32 with the shape of `relative`, from 0 to `num_buckets - 1`.

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
  """Resizes a learned 2D position embedding to another grid.

  Args:
    table: `[leading + Y * X, D]`, in row-major order.
    old: rows and columns of the grid, (Y, X).
    new: rows and columns of the new grid, (Y', X').
    method: "bicubic", as in transformers (PyTorch's bicubic); "antialiased",
      as in timm (bicubic, with a wider kernel when downsampling); or
      "bilinear", as in the original release of ViT (with aligned corners).
    leading: number of leading rows that are not resized, such as the position
      of a class token.

  Returns:
    `[leading + Y' * X', D]` with the dtype of `table`.

  Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.2.
  """
  if tuple(old) == tuple(new):
    return table
  matrix = lookup(RESIZE, method, "method")
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
  """Returns `[new, old]`, weights of four neighbors; edges are repeated."""
  center = (np.arange(new) + 0.5) * old / new - 0.5
  first = np.floor(center).astype(int) - 1
  matrix = np.zeros((new, old))
  for tap in range(4):
    neighbor = np.clip(first + tap, 0, old - 1)
    weight = _cubic(center - (first + tap), -0.75)
    np.add.at(matrix, (np.arange(new), neighbor), weight)
  return matrix


def _antialiased(old: int, new: int) -> np.ndarray:
  """Returns `[new, old]`, weights in units of the coarser grid."""
  center = (np.arange(new) + 0.5) * old / new - 0.5
  distance = np.arange(old) - center[:, None]
  matrix = _cubic(distance / max(old / new, 1), -0.5)
  return matrix / matrix.sum(1, keepdims=True)


def _bilinear(old: int, new: int) -> np.ndarray:
  """Returns `[new, old]`, weights of two neighbors with aligned corners."""
  center = np.linspace(0, old - 1, new)
  return np.maximum(0, 1 - np.abs(np.arange(old) - center[:, None]))


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
  """Returns the cubic convolution kernel of Keys 1981 at distances `x`."""
  x = np.abs(x)
  near = ((a + 2) * x - (a + 3)) * x**2 + 1
  far = a * (((x - 5) * x + 8) * x - 4)
  return np.where(x <= 1, near, np.where(x < 2, far, 0))


RESIZE = {
  "antialiased": _antialiased,
  "bicubic": _bicubic,
  "bilinear": _bilinear,
}

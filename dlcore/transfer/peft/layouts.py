"""Conversion of low-rank updates between dlcore's and PyTorch's layout."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.transfer.families.name_rules import Layout

A, B, MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_magnitude_vector"
"""Ends of PEFT's names of the arrays of a module."""


class Update(NamedTuple):
  """The update of one kernel `[..., in, out]`."""

  a: np.ndarray
  """`[..., in, R]`."""

  b: np.ndarray
  """`[R, out]`."""

  magnitude: np.ndarray | None = None
  """Of DoRA, `[out]`."""

  @property
  def rank(self) -> int:
    """R."""
    return self.b.shape[0]


class Module(NamedTuple):
  """One layer of PyTorch and the kernels of dlcore that it contains."""

  name: str
  paths: tuple[str, ...]
  layout: Layout
  shapes: tuple[tuple[int, ...], ...]
  """Shapes of the kernels."""

  @property
  def is_convolution(self) -> bool:
    """Whether the kernel is `[Y, X, in, out]`."""
    return len(self.shapes[0]) == 4

  @property
  def is_transposed(self) -> bool:
    """Whether PyTorch's weight is `[in, out]`, as in GPT-2's Conv1D."""
    if self.is_convolution:
      return False
    inside = self.shapes[0][0]
    width = inside + 1 if inside < 8 else 1
    weight = self.layout.save([np.zeros((inside, width))] * len(self.paths))
    return weight.shape == (inside, width * len(self.paths))

  @property
  def sizes(self) -> tuple[int, ...]:
    """Numbers of outputs of the kernels."""
    return tuple(shape[-1] for shape in self.shapes)


def rank_of(arrays: Mapping[str, np.ndarray]) -> int:
  """Returns the rank of an update in PEFT's layout."""
  return arrays[A].shape[0]


def unsupported(module: Module) -> str:
  """Returns why PEFT cannot adapt a layer as dlcore does, else ""."""
  axes = {len(shape) for shape in module.shapes}
  if axes != {2} and axes != {4}:
    return "it is neither a dense layer nor a convolution of images"
  if module.is_convolution and len(module.paths) > 1:
    return "it contains several kernels"
  if any("depthwise" in path for path in module.paths):
    return "it is a depthwise convolution"
  return ""


def to_torch(
  module: Module, updates: Sequence[Update | None], norms: Sequence[Any]
) -> dict[str, np.ndarray]:
  """Returns the arrays of PEFT of one module by the ends of their names.

  Several updates become one. If all have the same A, so does the module. If
  not, A concatenates theirs, and B has their blocks and zeros.

  Args:
    module: the layer.
    updates: of its kernels, None for a kernel without one.
    norms: of each output of the kernels `[out]`, used for those without.
  """
  first = next(update for update in updates if update is not None)
  if first.a.ndim == 4:
    arrays = {
      A: module.layout.save([first.a]),
      B: first.b.T[:, :, None, None],
    }
    if first.magnitude is not None:
      arrays[MAGNITUDE] = first.magnitude[None, :, None, None]
    return _contiguous(arrays)
  if len(updates) > 1 and _have_one_a(updates):
    a = first.a.T
    b = np.concatenate([update.b.T for update in updates if update])
  else:
    a = _joined(module, updates)
    b = _blocks(updates, module.sizes)
  arrays = {A: a, B: b}
  if first.magnitude is not None:
    pieces = [
      norm if update is None or update.magnitude is None else update.magnitude
      for update, norm in zip(updates, norms, strict=True)
    ]
    arrays[MAGNITUDE] = np.concatenate(pieces)
  return _contiguous(arrays)


def _have_one_a(updates: Sequence[Update | None]) -> bool:
  first = updates[0]
  return first is not None and all(
    update is not None and np.array_equal(update.a, first.a)
    for update in updates
  )


def _joined(module: Module, updates: Sequence[Update | None]) -> np.ndarray:
  """Returns A `[R, in]` of several updates, one after the other."""
  inside = module.shapes[0][0]
  empty = np.zeros((inside, 0), np.float32)
  pieces = [empty if update is None else update.a for update in updates]
  joined = module.layout.save(pieces)
  return joined.T if module.is_transposed else joined


def _blocks(
  updates: Sequence[Update | None], sizes: Sequence[int]
) -> np.ndarray:
  """Returns B `[out, R]` with a block for each update."""
  ranks = [0 if update is None else update.rank for update in updates]
  b = np.zeros((sum(sizes), sum(ranks)), np.float32)
  row = column = 0
  for update, size, rank in zip(updates, sizes, ranks, strict=True):
    if update is not None:
      b[row : row + size, column : column + rank] = update.b.T
    row, column = row + size, column + rank
  return b


def _contiguous(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
  return {name: np.ascontiguousarray(x) for name, x in arrays.items()}


def expected_shapes(
  module: Module, rank: int, *, dora: bool
) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of PEFT's arrays of a module by the ends of names."""
  outside = sum(module.sizes)
  ones = (1, 1) if module.is_convolution else ()
  shape = module.shapes[0]
  shapes: dict[str, tuple[int, ...]] = {
    A: (rank, shape[-2], *(shape[:2] if module.is_convolution else ())),
    B: (outside, rank, *ones),
  }
  if dora:
    shapes[MAGNITUDE] = (1, outside, *ones) if ones else (outside,)
  return shapes


def from_torch(
  module: Module, arrays: Mapping[str, np.ndarray]
) -> tuple[Update | None, ...]:
  """Returns the updates of the kernels of one module.

  It is the inverse of `to_torch`. A kernel without an update is None.

  Args:
    module: the layer.
    arrays: of `expected_shapes`.
  """
  a, b = (np.asarray(arrays[name], np.float32) for name in (A, B))
  magnitude = arrays.get(MAGNITUDE)
  if magnitude is not None:
    magnitude = np.asarray(magnitude, np.float32).reshape(-1)
  if module.is_convolution:
    [a] = module.layout.load(a)
    return (Update(a, b[:, :, 0, 0].T, magnitude),)
  if len(module.paths) == 1:
    # Also of a layer after a flattened image, whose inputs have another order.
    a = a.T if module.is_transposed else module.layout.load(a)[0]
    return (Update(a, b.T, magnitude),)
  ends = np.cumsum(module.sizes)[:-1]
  pieces = np.split(b, ends)
  kept = _components(pieces)
  magnitudes = [None] * len(pieces)
  if magnitude is not None:
    magnitudes = np.split(magnitude, ends)
  return tuple(
    Update(a[rows].T, piece[:, rows].T, magnitude)
    if rows.any() or magnitude is not None
    else None
    for piece, rows, magnitude in zip(pieces, kept, magnitudes, strict=True)
  )


def _components(pieces: Sequence[np.ndarray]) -> list[np.ndarray]:
  """Returns the components `bool[R]` of the update of each kernel.

  A component belongs to all kernels, unless B `[out, R]` consists of blocks, as
  `to_torch` writes it.
  """
  used = [piece.any(0) for piece in pieces]
  if any(used_by.any() for used_by in used) and sum(used).max() <= 1:  # pyright: ignore
    return used
  return [np.ones(piece.shape[1], bool) for piece in pieces]

"""Equal blocks one after the other: unrolled, or as one that is scanned."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.remat import remat as rematerialised
from dlcore.typing import Array, Params, PyTree

COLLECTIONS = ("params", "cache", "recorded", "intermediates")
"""What blocks may hold, each of its own."""


class Stacked(NamedTuple):
  """What comes out of a stack of blocks."""

  x: Array
  """What leaves the last one."""

  states: tuple[Array, ...]
  """What enters the first one, then what leaves each, where collected."""

  aux: tuple[PyTree, ...]
  """What each returned block_aux, where collected."""


def stack(
  run: Callable[[Any, Array, PyTree], tuple[Array, PyTree]],
  make: Callable[..., nn.Module],
  depth: int,
  x: Array,
  *,
  per_block: PyTree = None,
  scan: bool = False,
  remat: bool = False,
  collect: bool = False,
) -> Stacked:
  """Runs blocks within a compact method, `block_0` to `block_{depth - 1}`.

  Args:
    run: `(block, x, its part of per_block) -> (x, aux)`. It may close over
      arrays, such as masks.
    make: makes a block, called with `name`.
    depth: number of blocks.
    x: what enters the first one; every block keeps shape and dtype.
    per_block: arrays `[depth, ...]`, of which every block gets its own.
    scan: whether they are one block, `blocks`, whose parameters have a first
      axis over the depth: a program as short as that of one block.
    remat: whether the backward pass computes blocks again, to save memory.
    collect: whether to return what leaves each block.
  """
  step = rematerialised(run, remat)
  if scan:
    return _scanned(step, make, depth, x, per_block, collect)
  states, aux = [x], []
  for i in range(depth):
    x, block_aux = step(make(name=f"block_{i}"), x, _of(per_block, i))
    states.append(x)
    aux.append(block_aux)
  kept = (tuple(states), tuple(aux)) if collect else ((), ())
  return Stacked(x, *kept)


def _scanned(step, make, depth, x, per_block, collect) -> Stacked:
  def body(block, x, own):
    y, block_aux = step(block, x, own)
    return y, (y, block_aux) if collect else None

  scanned = nn.scan(
    body,
    variable_axes=dict.fromkeys(COLLECTIONS, 0),
    split_rngs={"params": True, "dropout": True},
    length=depth,
  )
  last, collected = scanned(make(name="blocks"), x, per_block)
  if not collect:
    return Stacked(last, (), ())
  states, aux = zip(*(_of(collected, i) for i in range(depth)), strict=True)
  return Stacked(last, (x, *states), aux)


def _of(tree: PyTree, i: int) -> PyTree:
  """Returns what belongs to one of the blocks."""
  return jax.tree.map(lambda leaf: leaf[i], tree)


def stack_blocks(params: Params) -> dict[str, Any]:
  """Returns the parameters of unrolled blocks as those of a scanned one.

  Args:
    params: with `block_0`, `block_1`, ... among others.
  """
  names = [f"block_{i}" for i in range(len(params)) if f"block_{i}" in params]
  rest = {name: part for name, part in params.items() if name not in names}
  parts = [params[name] for name in names]
  return rest | {"blocks": jax.tree.map(lambda *a: jnp.stack(a), *parts)}


def unstack_blocks(params: Params) -> dict[str, Any]:
  """Returns the parameters of a scanned block as those of unrolled ones.

  The inverse of `stack_blocks`.
  """
  blocks: Mapping = params["blocks"]
  depth = len(jax.tree.leaves(blocks)[0])
  rest = {name: part for name, part in params.items() if name != "blocks"}
  return rest | {f"block_{i}": _of(blocks, i) for i in range(depth)}

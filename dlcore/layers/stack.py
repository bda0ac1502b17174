"""Stacks of identical blocks, unrolled or run by `nn.scan`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers.remat import remat as rematerialize
from dlcore.typing import Array, Params, PyTree

COLLECTIONS = ("params", "adapters", "cache", "recorded", "intermediates")
"""Collections of blocks, stacked over the depth by a scan."""


class Stacked(NamedTuple):
  """Output of a stack of blocks."""

  x: Array
  """Output of the last block."""

  states: tuple[Array, ...]
  """Input of the first block and output of each, `()` unless collected."""

  aux: tuple[PyTree, ...]
  """Auxiliary output of each block, `()` unless collected."""


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
  """Runs `block_0` to `block_{depth - 1}` within a compact method.

  Args:
    run: `(block, x, slice of per_block) -> (x, aux)`. It may close over arrays,
      such as masks.
    make: makes a block; called with `name`.
    depth: number of blocks.
    x: input of the first block; blocks preserve its shape and dtype.
    per_block: tree of arrays `[depth, ...]`, one slice for each block.
    scan: whether to run one module, `blocks`, by `nn.scan`. Its parameters have
      a leading axis over the depth, and compilation takes as long as for one
      block.
    remat: whether to rematerialize blocks in the backward pass.
    collect: whether to return the states and the auxiliary outputs.
  """
  step = rematerialize(run, remat)
  if scan:
    return _scanned(step, make, depth, x, per_block, collect)
  states, aux = [x], []
  for i in range(depth):
    x, block_aux = step(make(name=f"block_{i}"), x, _slice(per_block, i))
    states.append(x)
    aux.append(block_aux)
  collected = (tuple(states), tuple(aux)) if collect else ((), ())
  return Stacked(x, *collected)


def _scanned(step, make, depth, x, per_block, collect) -> Stacked:
  def body(block, x, block_slice):
    y, block_aux = step(block, x, block_slice)
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
  states, aux = zip(*(_slice(collected, i) for i in range(depth)), strict=True)
  return Stacked(last, (x, *states), aux)


def _slice(tree: PyTree, i: int) -> PyTree:
  """Returns the slice of block `i`."""
  return jax.tree.map(lambda leaf: leaf[i], tree)


def stack_blocks(params: Params) -> dict[str, Any]:
  """Converts the parameters of unrolled blocks to those of scanned blocks.

  Args:
    params: contains `block_0`, `block_1`, ... and possibly other keys.
  """
  names = [f"block_{i}" for i in range(len(params)) if f"block_{i}" in params]
  others = {name: tree for name, tree in params.items() if name not in names}
  blocks = [params[name] for name in names]
  return others | {"blocks": jax.tree.map(lambda *a: jnp.stack(a), *blocks)}


def unstack_blocks(params: Params) -> dict[str, Any]:
  """Converts the parameters of scanned blocks to those of unrolled blocks.

  This is the inverse of `stack_blocks`.
  """
  blocks: Mapping = params["blocks"]
  depth = len(jax.tree.leaves(blocks)[0])
  others = {name: tree for name, tree in params.items() if name != "blocks"}
  return others | {f"block_{i}": _slice(blocks, i) for i in range(depth)}

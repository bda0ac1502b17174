"""What a trainer asks of the layers of any model, without their knowing.

Each is a context around a call of `apply`, at trace time.
"""

import contextlib
import re
from collections.abc import Iterator

import jax.numpy as jnp
from flax import linen as nn

from dlcore import trees
from dlcore.layers.dropout import DropBlock, Dropout, StochasticDepth

RECORDED = "recorded"
"""The collection that `recorded` fills; `apply` must make it mutable."""

DROPPING = (Dropout, DropBlock, StochasticDepth, nn.Dropout)


@contextlib.contextmanager
def frozen(pattern: str) -> Iterator[None]:
  """Runs the batch norm and the dropout of frozen layers as in evaluation.

  Batch norm is frozen where `pattern` is found in the paths of all of its
  parameters: it then takes its stored statistics, and leaves them as they are.
  What drops at random is frozen where `pattern` is found in its own path, or
  where all parameters of the module that it is in are frozen (this is not
  asked of the outermost one): it then drops nothing.

  Args:
    pattern: regex over the paths of parameters, such as `"^(?!head/)"`.
  """

  def intercept(next_method, args, kwargs, context):
    module = context.module
    if context.method_name != "__call__" or not _is_frozen(module, pattern):
      return next_method(*args, **kwargs)
    if isinstance(module, nn.BatchNorm):
      return _with(module, "use_running_average", next_method, args, kwargs)
    if isinstance(module, nn.Dropout):
      return _with(module, "deterministic", next_method, args, kwargs)
    return next_method(*args, **{**kwargs, "train": False})

  with nn.intercept_methods(intercept):
    yield


@contextlib.contextmanager
def recorded() -> Iterator[None]:
  """Notes how large the outputs of all modules with parameters are.

  `apply(..., mutable=[..., RECORDED])` then returns for every such module
  within the outermost one `{"output": (sum of squares, count)}`, float32
  scalars, at its path in the collection `RECORDED`.
  """

  def intercept(next_method, args, kwargs, context):
    output = next_method(*args, **kwargs)
    module = context.module
    plain = context.method_name == "__call__" and hasattr(output, "dtype")
    if plain and module.path and "params" in module.variables:
      values = jnp.asarray(output, jnp.float32)
      pair = (jnp.sum(jnp.square(values)), jnp.float32(values.size))
      module.sow(
        RECORDED,
        "output",
        pair,
        init_fn=lambda: (jnp.float32(0), jnp.float32(0)),
        reduce_fn=lambda old, new: (old[0] + new[0], old[1] + new[1]),
      )
    return output

  with nn.intercept_methods(intercept):
    yield


def _is_frozen(module: nn.Module, pattern: str) -> bool:
  if isinstance(module, nn.BatchNorm):
    return _all_frozen(module, pattern)
  if not isinstance(module, DROPPING):
    return False
  if re.search(pattern, "/".join(module.path)):
    return True
  parent = module.parent
  inner = isinstance(parent, nn.Module) and bool(parent.path)
  return inner and _all_frozen(parent, pattern)


def _all_frozen(module: nn.Module, pattern: str) -> bool:
  """Tells whether `pattern` is found in all paths of a module's parameters."""
  names = trees.flatten(module.variables.get("params", {}))
  paths = ["/".join((*module.path, name)) for name in names]
  paths = paths or ["/".join(module.path)]
  return all(re.search(pattern, path) for path in paths)


def _with(module, name: str, next_method, args, kwargs):
  """Calls a layer of Flax whose switch is a field or else an argument."""
  if getattr(module, name) is None:
    return next_method(args[0], **{**kwargs, name: True})
  # Flax refuses both; the module lives for this one call.
  object.__setattr__(module, name, True)
  return next_method(*args, **kwargs)

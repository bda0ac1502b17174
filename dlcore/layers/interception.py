"""Context managers that change the layers of any model while it is traced.

They wrap a call of `apply` and need no cooperation of the model.
"""

import contextlib
import re
from collections.abc import Iterator

import jax.numpy as jnp
from flax import linen as nn

from dlcore import trees
from dlcore.layers.dropout import DropBlock, Dropout, StochasticDepth

RECORDED = "recorded"
"""Collection in which `recorded` stores; it must be mutable in `apply`."""

DROPOUTS = (Dropout, DropBlock, StochasticDepth, nn.Dropout)


@contextlib.contextmanager
def frozen(pattern: str, *, dropout: bool = True) -> Iterator[None]:
  """Runs BatchNorm and dropout of frozen layers in eval mode.

  A BatchNorm is frozen if `pattern` matches the paths of all its parameters. It
  then uses its running statistics and does not update them. A dropout layer is
  frozen if `pattern` matches its own path, or if all parameters of the module
  that contains it are frozen (except the outermost module). It then returns
  its input.

  Args:
    pattern: regular expression, searched in the paths of parameters, such as
      `"^(?!head/)"`.
    dropout: whether frozen dropout is off.
  """

  def intercept(next_method, args, kwargs, context):
    module = context.module
    skipped = not dropout and isinstance(module, DROPOUTS)
    is_call = context.method_name == "__call__" and not skipped
    if not is_call or not _is_frozen(module, pattern):
      return next_method(*args, **kwargs)
    if isinstance(module, nn.BatchNorm):
      return _call_with(
        module, "use_running_average", next_method, args, kwargs
      )
    if isinstance(module, nn.Dropout):
      return _call_with(module, "deterministic", next_method, args, kwargs)
    return next_method(*args, **{**kwargs, "train": False})

  with nn.intercept_methods(intercept):
    yield


@contextlib.contextmanager
def recorded() -> Iterator[None]:
  """Records the squared norms of the outputs of all modules with parameters.

  `apply(..., mutable=[..., RECORDED])` then returns, for every submodule with
  parameters, `{"output norm": (sum of squares, count)}`, float32 scalars, at
  its path in the collection `RECORDED`.
  """

  def intercept(next_method, args, kwargs, context):
    output = next_method(*args, **kwargs)
    module = context.module
    is_array = hasattr(output, "dtype")
    called = context.method_name == "__call__"
    if called and is_array and module.path and "params" in module.variables:
      values = jnp.asarray(output, jnp.float32)
      pair = (jnp.sum(jnp.square(values)), jnp.float32(values.size))
      module.sow(
        RECORDED,
        "output norm",  # With a space, as a submodule may be called "output".
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
  if not isinstance(module, DROPOUTS):
    return False
  if re.search(pattern, "/".join(module.path)):
    return True
  parent = module.parent
  if not isinstance(parent, nn.Module) or not parent.path:
    return False
  return _all_frozen(parent, pattern)


def _all_frozen(module: nn.Module, pattern: str) -> bool:
  """Returns whether `pattern` matches all parameter paths of a module."""
  names = trees.flatten(module.variables.get("params", {}))
  paths = ["/".join((*module.path, name)) for name in names]
  paths = paths or ["/".join(module.path)]
  return all(re.search(pattern, path) for path in paths)


def _call_with(module, name: str, next_method, args, kwargs):
  """Calls a Flax layer with its flag `name`, a field or an argument, True."""
  if getattr(module, name) is None:
    return next_method(args[0], **{**kwargs, name: True})
  # Flax raises if both are set. The module exists for this call only.
  object.__setattr__(module, name, True)
  return next_method(*args, **kwargs)

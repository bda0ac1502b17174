"""The features of a model: the input of its output layer.

Context managers around a call of `apply`, as in `interception.py`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from flax import linen as nn

from dlcore.layers.interception import DROPOUTS
from dlcore.typing import Array

HEAD = "head"
"""Name of the output layer of every model."""


class HeadInput:
  """The input of the output layer in a call of a model.

  If it is the output of a dropout layer, the input of that layer counts: the
  features of an example are the same in every step.
  """

  path: str = ""
  """Path of the layer that takes the features; "" if there is none."""

  value: Any = None
  """The features `[B, ..., D]`, an array or a tracer."""


@contextlib.contextmanager
def recorded_head_input() -> Iterator[HeadInput]:
  """Records the features in a call of `apply` with `train=False`."""
  found = HeadInput()
  dropouts: list[tuple[str, Any, Any]] = []

  def intercept(next_method, args, kwargs, context):
    output = next_method(*args, **kwargs)
    module = context.module
    if context.method_name != "__call__" or not args:
      return output
    path = "/".join(module.path)
    if isinstance(module, DROPOUTS):
      dropouts.append((path, args[0], output))
    elif path == HEAD:
      found.path, found.value = path, args[0]
      for place, before, after in reversed(dropouts):
        if after is found.value:
          found.path, found.value = place, before
    return output

  with nn.intercept_methods(intercept):
    yield found


@contextlib.contextmanager
def replaced_input(path: str, value: Array) -> Iterator[None]:
  """Gives a layer another input, whatever the layers before it compute.

  Under `jax.jit` they are then not computed at all.

  Args:
    path: of the layer, such as `HeadInput.path`.
    value: its input.
  """

  def intercept(next_method, args, kwargs, context):
    is_call = context.method_name == "__call__"
    if is_call and args and "/".join(context.module.path) == path:
      args = (value, *args[1:])
    return next_method(*args, **kwargs)

  with nn.intercept_methods(intercept):
    yield

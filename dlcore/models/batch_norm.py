"""BatchNorm layers of a model."""

from collections.abc import Callable
from functools import partial

from flax import linen as nn

from dlcore import layers


def make_batch_norm(
  model: nn.Module, *, train: bool, momentum: float = 0.9, eps: float = 1e-5
) -> Callable[..., nn.Module]:
  """Returns a constructor of the BatchNorm layers of a model.

  Args:
    model: has the fields `dtype` and `axis_name`.
    train: whether to use batch statistics and update the running statistics.
    momentum: decay rate of the running statistics.
    eps: added to the variance.

  Returns:
    `(name=...) -> layers.BatchNorm`.
  """
  return partial(
    layers.BatchNorm,
    use_running_average=not train,
    momentum=momentum,
    epsilon=eps,
    dtype=model.dtype,
    axis_name=model.axis_name,
  )

"""Memory for time: activations that are computed again."""

from collections.abc import Callable

from flax import linen as nn


def remat(function: Callable, enabled: bool = True) -> Callable:
  """Lets the backward pass compute `function(module, x)` again.

  Only its input is then kept from the forward pass, not what is computed
  inside; the result and the gradient are the same, and so are the names of
  the parameters.

  Args:
    function: a method, or a function whose first argument is the module.
    enabled: False returns `function` as it is.

  Chen et al. 2016, arXiv:1604.06174.
  """
  return nn.remat(function) if enabled else function

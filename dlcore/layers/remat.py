"""Rematerialization: recomputes activations to save memory."""

from collections.abc import Callable

from flax import linen as nn


def remat(function: Callable, enabled: bool = True) -> Callable:
  """Recomputes the activations of `function(module, x)` in the backward pass.

  The forward pass then stores the input only. Output, gradient and parameter
  paths do not change.

  Args:
    function: a method, or a function whose first argument is the module.
    enabled: if False, `function` is returned unchanged.

  Chen et al. 2016, arXiv:1604.06174.
  """
  return nn.remat(function) if enabled else function

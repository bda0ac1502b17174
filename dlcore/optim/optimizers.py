"""Optimizers by name: `(learning_rate, decayed, *, settings) -> transform`.

`decayed` maps the parameters to a tree of booleans, true where weight decay
applies. Decay is decoupled from the gradient for every optimizer (Loshchilov
and Hutter 2017, arXiv:1711.05101); `optim.l2` is the coupled penalty.
"""

import optax

from dlcore.errors import UserError


def sgd(learning_rate, decayed, *, weight_decay: float = 0.0):
  """Follows the gradient (Robbins and Monro 1951)."""
  return _decay_and_scale(
    optax.identity(), learning_rate, decayed, weight_decay
  )


def momentum(
  learning_rate,
  decayed,
  *,
  momentum: float = 0.9,
  nesterov: bool = False,
  weight_decay: float = 0.0,
):
  """Follows a decaying sum of gradients (Sutskever et al. 2013)."""
  _check_decays(momentum=momentum)
  direction = optax.trace(decay=momentum, nesterov=nesterov)
  return _decay_and_scale(direction, learning_rate, decayed, weight_decay)


def adam(
  learning_rate,
  decayed,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
):
  """Adapts the rate of every parameter (Kingma, Ba 2014, arXiv:1412.6980)."""
  _check_decays(b1=b1, b2=b2)
  if not eps > 0:  # A gradient of 0 would make an update of 0 / 0.
    raise UserError("expected optim.eps above 0", f"got {eps}")
  direction = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)
  return _decay_and_scale(direction, learning_rate, decayed, weight_decay)


def adamw(
  learning_rate,
  decayed,
  *,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 1e-4,
):
  """Is Adam with decoupled weight decay on by default (arXiv:1711.05101)."""
  return adam(
    learning_rate, decayed, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay
  )


def _check_decays(**decays: float) -> None:
  """Refuses decays of a running sum that would make it grow."""
  for name, value in decays.items():
    if not 0 <= value < 1:
      raise UserError(
        f"expected optim.{name} from 0 to below 1", f"got {value}"
      )


def _decay_and_scale(direction, learning_rate, decayed, weight_decay):
  parts = [direction, optax.scale_by_learning_rate(learning_rate)]
  if weight_decay:
    parts.insert(1, optax.add_decayed_weights(weight_decay, decayed))
  return optax.chain(*parts)


OPTIMIZERS = {
  "adam": adam,
  "adamw": adamw,
  "momentum": momentum,
  "sgd": sgd,
}

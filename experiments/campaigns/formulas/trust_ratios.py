"""Optimizers that scale an update by the norm of the array it changes."""

from .adam import adam
from .memory import norm, of_path
from .momentum import trace


def lamb(
  memory,
  gradients,
  weights,
  t,
  rate,
  decayed,
  *,
  b1=0.9,
  b2=0.999,
  eps=1e-6,
  weight_decay=0.0,
):
  """You et al. 2019, Algorithm 2, where phi is the identity.

  Convention: arrays without decay have no trust ratio.
  """
  changes = {}
  for path, g in gradients.items():
    w = weights[path]
    u = adam(of_path(memory, path), g, w, t, b1=b1, b2=b2, eps=eps)
    if path in decayed:
      u = u + weight_decay * w
      u = u * norm(w) / norm(u)
    changes[path] = -rate * u
  return changes


def lars(
  memory,
  gradients,
  weights,
  t,
  rate,
  decayed,
  *,
  trust_coefficient=0.001,
  momentum=0.9,
  nesterov=False,
  weight_decay=0.0,
):
  """You et al. 2017, Algorithm 1.

  Convention: the trust ratio divides by the norm of the sum of gradient and
  decay, in the paper by the sum of their norms; the rate multiplies the
  momentum; arrays without decay have no trust ratio.
  """
  changes = {}
  for path, g in gradients.items():
    w = weights[path]
    if path in decayed:
      g = g + weight_decay * w
      g = g * trust_coefficient * norm(w) / norm(g)
    s = of_path(memory, path)
    changes[path] = -rate * trace(
      s, g, w, t, momentum=momentum, nesterov=nesterov
    )
  return changes

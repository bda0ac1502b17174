"""Optimizers that divide a gradient by the root of its averaged squares.

Each function returns the direction of one array, see `memory.decoupled`.
"""

import numpy as np

from .memory import average, norm, of_path, rms
from .momentum import trace


def adadelta(s, g, w, t, *, rho=0.9, eps=1e-6):
  """Zeiler 2012, Algorithm 1."""
  v = average(s, "g2", g**2, rho)
  u = np.sqrt(s["x2"] + eps) / np.sqrt(v + eps) * g
  average(s, "x2", u**2, rho)
  return u


def adafactor(
  s,
  g,
  w,
  t,
  *,
  min_dim_size_to_factor=128,
  decay_rate=0.8,
  multiply_by_parameter_scale=True,
  clipping_threshold=1.0,
  momentum=0.0,
  eps=1e-30,
):
  """Shazeer and Stern 2018, Algorithms 4 and 5, section 7.2 for the decay.

  Convention: of more than two axes the two largest are factored; the momentum
  averages the scaled updates, and the rate multiplies it.
  """
  b2 = 1 - t**-decay_rate
  squares = g**2 + eps
  rows, columns = np.sort(np.argsort(g.shape)[-2:]) if g.ndim > 1 else (0, 0)
  if g.ndim > 1 and min(g.shape[rows], g.shape[columns]) >= (
    min_dim_size_to_factor
  ):
    r = average(s, "r", squares.mean(columns, keepdims=True), b2)
    c = average(s, "c", squares.mean(rows, keepdims=True), b2)
    v = r * c / r.mean(rows, keepdims=True)
  else:
    v = average(s, "v", squares, b2)
  u = g / np.sqrt(v)
  u /= max(1.0, rms(u) / clipping_threshold)
  if multiply_by_parameter_scale:
    u *= max(1e-3, rms(w))
  return average(s, "m", u, momentum)


def adagrad(s, g, w, t, *, initial_accumulator_value=0.1, eps=1e-7):
  """Duchi et al. 2011, Figure 1, diagonal.

  Convention: the sum begins at 0.1 and epsilon is inside of the root, as in
  TensorFlow; in PyTorch the sum begins at 0 and epsilon is outside.
  """
  s["sum"] += g**2 + (initial_accumulator_value if t == 1 else 0.0)
  return g / np.sqrt(s["sum"] + eps)


def novograd(s, g, w, t, *, b1=0.9, b2=0.25, eps=1e-6):
  """Ginsburg et al. 2019, Algorithm 1.

  Convention: the decay follows the momentum.
  """
  v = norm(g) ** 2
  s["v"] = v if t == 1 else b2 * s["v"] + (1 - b2) * v
  s["m"] = b1 * s["m"] + g / (np.sqrt(s["v"]) + eps)
  return s["m"]


def rmsprop(
  s,
  g,
  w,
  t,
  *,
  decay=0.9,
  eps=1e-8,
  initial_scale=0.0,
  momentum=0.0,
  nesterov=False,
):
  """Tieleman and Hinton 2012, slide 29.

  Convention: epsilon is inside of the root, as in TensorFlow; in PyTorch it is
  outside. Not centered.
  """
  if t == 1:
    s["v"] = initial_scale
  u = g / np.sqrt(average(s, "v", g**2, decay) + eps)
  return trace(
    of_path(s, "trace"), u, w, t, momentum=momentum, nesterov=nesterov
  )

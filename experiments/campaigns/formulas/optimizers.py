"""The optimizers as their papers write them, in NumPy and float64.

`FORMULAS[name](memory, gradients, weights, t, rate, decayed, **settings)`
returns the change of each weight in update t = 1, 2, ... All but `memory`, a
`Memory` that the updates share, are dicts by path or numbers; `decayed` has the
paths with weight decay. The defaults of the settings are written once more.

Weight decay is decoupled, `w -= rate * decay * w` (Loshchilov and Hutter 2017,
Algorithm 2, whose schedule multiplier is the rate here, as in PyTorch), unless
a formula places it elsewhere. A line that begins with "Convention" names where
dlcore differs from the paper or from PyTorch on purpose.
"""

import collections
import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np


class Memory(collections.defaultdict):
  """Averages and sums of an optimizer, 0 before the first update."""

  def __init__(self):
    super().__init__(float)


def decoupled(direction: Callable[..., Any], weight_decay: float = 0.0):
  """Returns the formula `-rate * (direction + decay * w)`.

  Args:
    direction: `(s, g, w, t, **settings)` of one array, with its memory s.
    weight_decay: the default.
  """

  def formula(memory, gradients, weights, t, rate, decayed, **settings):
    decay = settings.pop("weight_decay", weight_decay)
    changes = {}
    for path, g in gradients.items():
      w, s = weights[path], of_path(memory, path)
      u = direction(s, g, w, t, **settings)
      changes[path] = -rate * (u + (decay * w if path in decayed else 0.0))
    return changes

  parameters = inspect.signature(direction).parameters.values()
  own = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
  added = inspect.Parameter(
    "weight_decay", inspect.Parameter.KEYWORD_ONLY, default=weight_decay
  )
  formula.__dict__["__signature__"] = inspect.Signature([*own, added])
  return formula


def of_path(memory: Memory, path: str) -> Memory:
  """Returns the memory of one array."""
  return memory.setdefault(path, Memory())


def norm(x) -> float:
  """Returns the Euclidean norm of all entries."""
  return np.sqrt(np.sum(np.square(x)))


def rms(x) -> float:
  """Returns the root mean square of all entries."""
  return np.sqrt(np.mean(np.square(x)))


def average(s: Memory, name: str, x, b):
  """Updates and returns the exponential moving average with decay b."""
  s[name] = b * s[name] + (1 - b) * x
  return s[name]


def adabelief(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16):
  """Zhuang et al. 2020, Algorithm 2; its one epsilon has two names here."""
  m = average(s, "m", g, b1)
  s["s"] = b2 * s["s"] + (1 - b2) * (g - m) ** 2 + eps_root
  return m / (1 - b1**t) / (np.sqrt(s["s"] / (1 - b2**t)) + eps)


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


def adam(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-8):
  """Kingma and Ba 2014, Algorithm 1."""
  m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
  return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def adamax(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-8):
  """Kingma and Ba 2014, Algorithm 2.

  Convention: epsilon is added to the gradient, as in PyTorch.
  """
  m = average(s, "m", g, b1)
  s["u"] = np.maximum(b2 * s["u"], np.abs(g) + eps)
  return m / (1 - b1**t) / s["u"]


def adan(s, g, w, t, *, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=1e-8):
  """Xie et al. 2022, Algorithm 1, whose betas are 1 - b here.

  Convention: bias corrections and the difference of 0 in the first update are
  those of the authors' code, the epsilon inside of the root is Optax's.
  """
  difference = g - s["g"] if t > 1 else 0.0 * g
  s["g"] = g
  m, v = average(s, "m", g, b1), average(s, "v", difference, b2)
  n = average(s, "n", (g + b2 * difference) ** 2, b3)
  ascent = m / (1 - b1**t) + b2 * v / (1 - b2**t)
  return ascent / (np.sqrt(n / (1 - b3**t) + eps_root) + eps)


def ademamix(s, g, w, t, *, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8):
  """Pagliardini et al. 2024, Algorithm 1.

  Convention: alpha and b3 have no warm-up.
  """
  m1, m2 = average(s, "m1", g, b1), average(s, "m2", g, b3)
  v = average(s, "v", g**2, b2)
  return (m1 / (1 - b1**t) + alpha * m2) / (np.sqrt(v / (1 - b2**t)) + eps)


def adopt(s, g, w, t, *, b1=0.9, b2=0.9999, eps=1e-6):
  """Taniguchi et al. 2024, Algorithm 2, clipped to the fourth root of t.

  Update 1 is the paper's update 0.
  """
  if t == 1:
    s["v"] = g**2
    return 0.0 * g
  limit = (t - 1) ** 0.25
  u = np.clip(g / np.maximum(np.sqrt(s["v"]), eps), -limit, limit)
  average(s, "v", g**2, b2)
  return average(s, "m", u, b1)


def amsgrad(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-8):
  """Reddi et al. 2018, Algorithm 2, which has no bias correction.

  Convention: epsilon is added to the root, which the paper leaves out. PyTorch
  corrects the bias, of the second moment after the maximum.
  """
  m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
  s["largest"] = np.maximum(s["largest"], v)
  return m / (np.sqrt(s["largest"]) + eps)


def lion(s, g, w, t, *, b1=0.9, b2=0.99):
  """Chen et al. 2023, Algorithm 2."""
  u = np.sign(b1 * s["m"] + (1 - b1) * g)
  average(s, "m", g, b2)
  return u


def trace(s, g, w, t, *, momentum=0.0, nesterov=False):
  """Sutskever et al. 2013, equations 1 to 4.

  Convention: the rate multiplies the velocity, as in PyTorch; in the paper the
  velocity sums gradients that were multiplied by their rates. Nesterov's
  weights are those at the point of the gradient, as in PyTorch.
  """
  s["v"] = momentum * s["v"] + g
  return momentum * s["v"] + g if nesterov else s["v"]


def polyak(s, g, w, t, *, momentum=0.9):
  """Polyak 1964, equation 9, see `trace`."""
  return trace(s, g, w, t, momentum=momentum)


def nesterov(s, g, w, t, *, momentum=0.9):
  """Sutskever et al. 2013, equations 3 and 4, see `trace`."""
  return trace(s, g, w, t, momentum=momentum, nesterov=True)


def muon(
  memory,
  gradients,
  weights,
  t,
  rate,
  decayed,
  *,
  adam_b1=0.9,
  adam_b2=0.999,
  adam_params=r"(^|/)(embedding|head)(/|$)",
  eps=1e-8,
  beta=0.95,
  consistent_rms=0.2,
  weight_decay=0.0,
):
  """Jordan et al. 2024; scaled as in Liu et al. 2025, equation 4.

  Convention: kernels [Y, X, I, O] are matrices [Y * X * I, O], the other arrays
  and those that `adam_params` matches are updated by `nadam`.
  """

  def direction(path, s, g):
    if g.ndim not in (2, 4) or re.search(adam_params, path):
      return nadam(s, g, None, t, b1=adam_b1, b2=adam_b2, eps=eps)
    return orthogonal(s, g, t, beta, eps, consistent_rms)

  return {
    path: -rate * direction(path, of_path(memory, path), g)
    - rate * weight_decay * weights[path] * (path in decayed)
    for path, g in gradients.items()
  }


def orthogonal(s, g, t, beta, eps, consistent_rms):
  """Returns muon's direction of one matrix.

  Convention: the momentum is an average whose bias is corrected as in `nadam`.
  """
  m = average(s, "m", g, beta) / (1 - beta ** (t + 1))
  m = (beta * m + (1 - beta) * g / (1 - beta**t)).reshape(-1, g.shape[-1])
  x = newton_schulz(m, eps)
  return consistent_rms * max(x.shape) ** 0.5 * x.reshape(g.shape)


def newton_schulz(x, eps=1e-8):
  """Returns five steps of Jordan et al. 2024 towards an orthogonal matrix."""
  x = x / (norm(x) + eps)
  for _ in range(5):
    square = x @ x.T
    x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
  return x


def nadam(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-8):
  """Dozat 2016, Algorithm 2.

  Convention: b1 is constant, where PyTorch has a schedule; the second moment
  has no further factor b2.
  """
  m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
  ascent = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
  return ascent / (np.sqrt(v / (1 - b2**t)) + eps)


def novograd(s, g, w, t, *, b1=0.9, b2=0.25, eps=1e-6):
  """Ginsburg et al. 2019, Algorithm 1.

  Convention: the decay follows the momentum.
  """
  v = norm(g) ** 2
  s["v"] = v if t == 1 else b2 * s["v"] + (1 - b2) * v
  s["m"] = b1 * s["m"] + g / (np.sqrt(s["v"]) + eps)
  return s["m"]


def radam(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-8):
  """Liu et al. 2019, Algorithm 2.

  Convention: updates are rectified from a length of 5 on, in the paper above 4;
  epsilon is added to the root, as in Adam.
  """
  m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
  m = m / (1 - b1**t)
  longest = 2 / (1 - b2) - 1
  length = longest - 2 * t * b2**t / (1 - b2**t)
  if length < 5:
    return m
  r = (length - 4) * (length - 2) * longest
  r /= (longest - 4) * (longest - 2) * length
  return np.sqrt(r) * m / (np.sqrt(v / (1 - b2**t)) + eps)


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


def yogi(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-3):
  """Zaheer et al. 2018, Algorithm 2.

  Convention: moments begin at 0 and are corrected for their bias as in `adam`.
  """
  m = average(s, "m", g, b1)
  s["v"] = s["v"] - (1 - b2) * np.sign(s["v"] - g**2) * g**2
  return m / (1 - b1**t) / (np.sqrt(s["v"] / (1 - b2**t)) + eps)


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


def prodigy(
  memory,
  gradients,
  weights,
  t,
  rate,
  decayed,
  *,
  betas=(0.9, 0.999),
  eps=1e-8,
  estim_lr0=1e-6,
  weight_decay=0.0,
):
  """Mishchenko and Defazio 2023, Algorithm 4.

  Convention: moments are corrected for their bias, `use_bias_correction` of the
  authors' code, and epsilon is multiplied by the new estimate, as there; the
  rate does not enter the estimate, which multiplies the decay.
  """
  b1, b2 = betas
  b3 = np.sqrt(b2)
  if t == 1:
    memory["start"], memory["d"] = dict(weights), estim_lr0
  d = memory["d"]
  step = d * np.sqrt(1 - b2**t) / (1 - b1**t)
  numerator, denominator = b3 * memory["r"], 0.0
  for path, g in gradients.items():
    s = of_path(memory, path)
    average(s, "m", d * g, b1)
    average(s, "v", (d * g) ** 2, b2)
    s["s"] = b3 * s["s"] + d * step * g
    numerator += d * step * np.sum(g * (memory["start"][path] - weights[path]))
    denominator += np.sum(np.abs(s["s"]))
  memory["r"] = numerator
  memory["d"] = new = max(d, numerator / denominator)
  changes = {}
  for path in gradients:
    s = memory[path]
    u = step * s["m"] / (np.sqrt(s["v"]) + new * eps)
    decay = new * weight_decay * weights[path] if path in decayed else 0.0
    changes[path] = -rate * (u + decay)
  return changes


def schedule_free(
  direction,
  memory,
  gradients,
  weights,
  t,
  rate,
  decayed,
  *,
  b1,
  weight_decay,
):
  """Defazio et al. 2024, Algorithm 1.

  Convention: the weights of the average are the squares of the largest rate so
  far, and bias corrections do not enter them, as in the authors' code.
  """
  memory["rate"] = max(memory["rate"], rate)
  memory["total"] += memory["rate"] ** 2
  c = memory["rate"] ** 2 / memory["total"]
  changes = {}
  for path, g in gradients.items():
    y, s = weights[path], of_path(memory, path)
    if t == 1:
      s["x"] = s["z"] = y
    decay = weight_decay * y if path in decayed else 0.0
    s["z"] = s["z"] - rate * (direction(s, g) + decay)
    s["x"] = (1 - c) * s["x"] + c * s["z"]
    changes[path] = (1 - b1) * s["z"] + b1 * s["x"] - y
  return changes


def schedule_free_sgd(*state, b1=0.9, weight_decay=0.0):
  """Defazio et al. 2024, equations 1 to 3, see `schedule_free`."""
  return schedule_free(lambda s, g: g, *state, b1=b1, weight_decay=weight_decay)


def schedule_free_adamw(*state, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0):
  """Defazio et al. 2024, Algorithm 1, see `schedule_free`."""
  t = state[3]
  return schedule_free(
    lambda s, g: g / (np.sqrt(average(s, "v", g**2, b2) / (1 - b2**t)) + eps),
    *state,
    b1=b1,
    weight_decay=weight_decay,
  )


FORMULAS: dict[str, Callable[..., dict[str, Any]]] = {
  "adabelief": decoupled(adabelief),
  "adadelta": decoupled(adadelta),
  "adafactor": decoupled(adafactor),
  "adagrad": decoupled(adagrad),
  "adam": decoupled(adam),
  "adamax": decoupled(adamax),
  "adamw": decoupled(adam, weight_decay=1e-4),
  "adan": decoupled(adan),
  "ademamix": decoupled(ademamix),
  "adopt": decoupled(adopt),
  "amsgrad": decoupled(amsgrad),
  "lamb": lamb,
  "lars": lars,
  "lion": decoupled(lion),
  "momentum": decoupled(polyak),
  "muon": muon,
  "nadam": decoupled(nadam),
  "nesterov": decoupled(nesterov),
  "novograd": decoupled(novograd),
  "prodigy": prodigy,
  "radam": decoupled(radam),
  "rmsprop": decoupled(rmsprop),
  "schedule_free_adamw": schedule_free_adamw,
  "schedule_free_sgd": schedule_free_sgd,
  "sgd": decoupled(trace),
  "yogi": decoupled(yogi),
}

"""Adam and its variants: a momentum over the root of averaged squares.

Each function returns the direction of one array, see `memory.decoupled`.
"""

import numpy as np

from .memory import average


def adam(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-8):
  """Kingma and Ba 2014, Algorithm 1."""
  m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
  return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def adabelief(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16):
  """Zhuang et al. 2020, Algorithm 2; its one epsilon has two names here."""
  m = average(s, "m", g, b1)
  s["s"] = b2 * s["s"] + (1 - b2) * (g - m) ** 2 + eps_root
  return m / (1 - b1**t) / (np.sqrt(s["s"] / (1 - b2**t)) + eps)


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


def nadam(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-8):
  """Dozat 2016, Algorithm 2.

  Convention: b1 is constant, where PyTorch has a schedule; the second moment
  has no further factor b2.
  """
  m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
  ascent = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
  return ascent / (np.sqrt(v / (1 - b2**t)) + eps)


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


def yogi(s, g, w, t, *, b1=0.9, b2=0.999, eps=1e-3):
  """Zaheer et al. 2018, Algorithm 2.

  Convention: moments begin at 0 and are corrected for their bias as in `adam`.
  """
  m = average(s, "m", g, b1)
  s["v"] = s["v"] - (1 - b2) * np.sign(s["v"] - g**2) * g**2
  return m / (1 - b1**t) / (np.sqrt(s["v"] / (1 - b2**t)) + eps)

"""Optimizers without a schedule or without a learning rate."""

import numpy as np

from .memory import average, of_path


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

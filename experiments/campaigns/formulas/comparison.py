"""Largest differences of dlcore's optimizers and schedules from the formulas.

A difference is max|a - b| / max|b| of an array, the largest of all arrays and
updates; of optimizers, a and b are the movement of a parameter since the start.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import optim, trees

from .optimizers import FORMULAS, Memory
from .schedules import SCHEDULES

STEPS = 60
# Shapes, and scales of the gradients and the parameters.
ARRAYS: dict[str, tuple[tuple[int, ...], float]] = {
  "conv/kernel": ((3, 2, 4, 5), 30.0),
  "dense/bias": ((7,), 1.0),
  "dense/kernel": ((7, 5), 1.0),
  "embed/embedding": ((6, 3), 1e-3),
  "head/kernel": ((5, 6), 0.1),
  "norm/scale": ((5,), 1e-3),
  "small/kernel": ((3, 7), 1e-7),
}
NO_DECAY = r"(bias|scale)$"
# The rate rises and falls: it must be that of the update, not of the start.
RATES = 0.05 + 0.03 * np.sin(np.arange(STEPS) / 8)

# Other values of the settings, all at once: an optimizer's own come first.
CHANGED: dict[str, Any] = {
  "adabelief.eps": 0.03,
  "adafactor.eps": 0.02,
  "adafactor.momentum": 0.7,
  "adam_b1": 0.7,
  "adam_b2": 0.97,
  "adam_params": "^dense",
  "alpha": 3.0,
  "b1": 0.8,
  "b2": 0.97,
  "b3": 0.98,
  "beta": 0.8,
  "betas": (0.8, 0.97),
  "clipping_threshold": 0.6,
  "consistent_rms": 0.3,
  "decay": 0.8,
  "decay_rate": 0.6,
  "eps": 0.05,
  "eps_root": 0.01,
  "estim_lr0": 1e-4,
  "initial_accumulator_value": 0.3,
  "initial_scale": 0.2,
  "min_dim_size_to_factor": 5,
  "momentum": 0.8,
  "multiply_by_parameter_scale": False,
  "nesterov": True,
  "rho": 0.8,
  "trust_coefficient": 0.02,
  "weight_decay": 0.2,
}


def optimizer_settings(name: str) -> dict[str, Any]:
  """Returns another value for every setting of an optimizer."""
  return {
    key: CHANGED.get(f"{name}.{key}", CHANGED.get(key))
    for key in keywords(optim.OPTIMIZERS[name])
  }


def keywords(function) -> dict[str, Any]:
  """Returns the keyword-only arguments of a function, with their defaults."""
  parameters = inspect.signature(function).parameters.values()
  return {
    each.name: each.default
    for each in parameters
    if each.kind is each.KEYWORD_ONLY
  }


def optimizer_difference(name: str, settings: Mapping[str, Any]) -> float:
  """Returns the largest difference of an optimizer from its formula."""
  start, gradients = problem()
  ours = trees.flatten(movement(name, start, gradients, settings))
  expected = formula_movement(name, start, gradients, settings)
  return max(difference(ours[path], expected[path]) for path in expected)


def problem() -> tuple[dict, dict]:
  """Returns parameters, and gradients `[t, ...]` with a mean, as float32."""
  normal = np.random.default_rng(0).normal
  start, gradients = {}, {}
  for path, (shape, scale) in ARRAYS.items():
    start[path] = (scale * normal(size=shape)).astype(np.float32)
    noise = normal(size=(STEPS, *shape)) + 0.7 * normal(size=shape)
    gradients[path] = (scale * noise).astype(np.float32)
  return start, gradients


def movement(name, start, gradients, settings):
  """Returns the sums of dlcore's updates `[t, ...]`, added up in float64."""
  rates = jnp.asarray(RATES, jnp.float32)
  tx = optim.create(
    name,
    learning_rate=lambda step: rates[step],
    no_decay=NO_DECAY,
    **settings,
  )

  def update(carry, gradient):
    params, state = carry
    updates, state = tx.update(gradient, state, params)
    return (optax.apply_updates(params, updates), state), updates

  @jax.jit
  def train(params, gradients):
    return jax.lax.scan(update, (params, tx.init(params)), gradients)[1]

  updates = train(trees.nest(start), trees.nest(gradients))
  return jax.tree.map(lambda u: np.cumsum(np.asarray(u, float), 0), updates)


def formula_movement(name, start, gradients, settings) -> dict[str, Any]:
  """Returns the movement `[t, ...]` of the parameters by the formula."""
  decayed = {path for path in start if not re.search(NO_DECAY, path)}
  start = {path: array.astype(float) for path, array in start.items()}
  params, memory, track = start, Memory(), []
  for t, rate in enumerate(np.float32(RATES).astype(float), 1):
    at_t = {path: g[t - 1].astype(float) for path, g in gradients.items()}
    changes = FORMULAS[name](
      memory, at_t, params, t, rate, decayed, **settings
    )
    params = {path: params[path] + changes[path] for path in params}
    track.append(params)
  return {
    path: np.stack([each[path] for each in track]) - start[path]
    for path in start
  }


def difference(a, b) -> float:
  """Returns the largest max|a - b| / max|b| over the updates."""
  a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
  error, size = np.abs(a - b).max(1), np.abs(b).max(1)
  return float(np.max(error / np.maximum(size, 1e-30)))

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

from .memory import Memory
from .optimizers import FORMULAS
from .schedules import SCHEDULES

STEPS = 60
# Shapes, and the scales of the gradients and of the parameters.
ARRAYS: dict[str, tuple[tuple[int, ...], float, float]] = {
  "conv/kernel": ((3, 2, 4, 5), 30.0, 0.01),
  "dense/bias": ((7,), 1.0, 1.0),
  "dense/kernel": ((7, 5), 1.0, 1.0),
  "embed/embedding": ((6, 3), 1e-3, 1e-3),
  "head/kernel": ((5, 6), 0.1, 0.1),
  "norm/scale": ((5,), 0.01, 0.01),
  "small/kernel": ((3, 7), 1e-7, 1e-7),
}
NO_DECAY = r"(bias|scale)$"
# The rate rises and falls: it must be that of the update, not of the start.
RATES = 0.05 + 0.03 * np.sin(np.arange(STEPS) / 8)
LENGTH, PEAK = 103, 0.3
RATE_SCALES = {"prodigy": 20.0}  # Its rate is a factor near 1.

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
  "boundaries": (20, 50),
  "clipping_threshold": 0.6,
  "consistent_rms": 0.3,
  "cooldown": 0.3,
  "decay": 0.8,
  "decay_rate": 0.6,
  "eps": 0.05,
  "eps_root": 0.01,
  "estim_lr0": 1e-4,
  "factor": 0.4,
  "final": 0.05,
  "initial": 0.2,
  "initial_accumulator_value": 0.3,
  "initial_scale": 0.2,
  "min_dim_size_to_factor": 5,
  "min_scale": 0.1,
  "momentum": 0.8,
  "multiply_by_parameter_scale": False,
  "nesterov": True,
  "patience": 3,
  "power": 1.7,
  "rho": 0.8,
  "trust_coefficient": 0.02,
  "warmup": 0.25,
  "warmup_steps": 13,
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
  for path, (shape, gradient_scale, scale) in ARRAYS.items():
    start[path] = (scale * normal(size=shape)).astype(np.float32)
    noise = normal(size=(STEPS, *shape)) + 0.7 * normal(size=shape)
    gradients[path] = (gradient_scale * noise).astype(np.float32)
  return start, gradients


def movement(name, start, gradients, settings):
  """Returns the sums of dlcore's updates `[t, ...]`, added up in float64."""
  rates = jnp.asarray(RATES * RATE_SCALES.get(name, 1.0), jnp.float32)
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
  """Returns the sums of the formula's updates `[t, ...]`.

  The parameters are rounded to float32 after each update, as stored ones are:
  prodigy reads its first steps, of 1e-6, off their difference.
  """
  decayed = {path for path in start if not re.search(NO_DECAY, path)}
  params, memory, track = start, Memory(), {path: [] for path in start}
  rates = np.float32(RATES * RATE_SCALES.get(name, 1.0)).astype(float)
  for t, rate in enumerate(rates, 1):
    at_t = {path: g[t - 1].astype(float) for path, g in gradients.items()}
    exact = {path: array.astype(float) for path, array in params.items()}
    changes = FORMULAS[name](memory, at_t, exact, t, rate, decayed, **settings)
    params = {p: np.float32(exact[p] + changes[p]) for p in params}
    for path, change in changes.items():
      track[path].append(change)
  return {path: np.cumsum(changes, 0) for path, changes in track.items()}


def schedule_difference(name: str, settings: Mapping[str, Any]) -> float:
  """Returns the largest difference of a schedule from its formula."""
  steps = np.arange(LENGTH + 20)  # Beyond the end of the run too.
  rate = optim.schedule(name, learning_rate=PEAK, steps=LENGTH, **settings)
  ours = np.asarray(jax.jit(jax.vmap(rate))(steps), float)
  shape = [SCHEDULES[name](int(step), LENGTH, **settings) for step in steps]
  expected = PEAK * np.array(shape)
  return float(np.abs(ours - expected).max() / np.abs(expected).max())


def schedule_settings(name: str) -> dict[str, Any]:
  """Returns another value for every setting of a schedule."""
  return {key: CHANGED[key] for key in keywords(optim.SCHEDULES[name])}


def difference(a, b) -> float:
  """Returns the largest max|a - b| / max|b| over the updates."""
  a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
  error, size = np.abs(a - b).max(1), np.abs(b).max(1)
  return float(np.max(error / np.maximum(size, 1e-30)))

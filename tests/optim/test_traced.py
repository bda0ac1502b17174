"""Numbers may be traced: one program for a population of settings.

Both programs get the same float32 numbers. A Python 0.999 is another number:
Optax computes 1 - 0.999 in double precision, a relative difference of 1e-5.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import optim, trees
from dlcore.errors import UserError

# Compiling takes the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def normal(seed, shapes):
  generator = np.random.default_rng(seed)
  return {
    layer: {
      name: generator.normal(size=shape).astype(np.float32)
      for name, shape in arrays.items()
    }
    for layer, arrays in shapes.items()
  }


SHAPES = {
  "embed": {"kernel": (4, 3)},
  "block_0": {"kernel": (3, 3), "bias": (3,)},
  "head": {"kernel": (3, 2), "bias": (2,)},
}
PARAMS = normal(0, SHAPES)


def train(tx, *, steps=3, penalty=None, scale=1.0):
  """Returns the parameters after a few steps towards noisy targets."""
  noise = [normal(seed, SHAPES) for seed in range(1, steps + 1)]
  targets = jax.tree.map(lambda *leaves: scale * np.stack(leaves), *noise)

  def loss(params, targets):
    errors = jax.tree.map(lambda p, t: jnp.sum((p - t) ** 2), params, targets)
    total = sum(jax.tree.leaves(errors))
    return total + penalty(params) if penalty else total

  def update(carry, inputs):
    params, state = carry
    step, targets = inputs
    grads = jax.grad(loss)(params, targets)
    updates, state = tx.update(grads, state, params, step=step)
    return (optax.apply_updates(params, updates), state), None

  carry = (PARAMS, tx.init(PARAMS))
  (params, _), _ = jax.lax.scan(update, carry, (jnp.arange(steps), targets))
  return params


def as_floats(numbers):
  return {key: float(np.float32(value)) for key, value in numbers.items()}


def one_changed(numbers, changed):
  """Returns columns: the numbers, then each in turn with one changed."""
  rows = [numbers, *({**numbers, key: changed[key]} for key in numbers)]
  return {
    key: np.asarray([row[key] for row in rows], np.float32) for key in numbers
  }


def row(tree, index):
  return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)


def distance(tree, other):
  """Returns max|a - b| / max|b|, the largest of all leaves."""
  tree, other = trees.flatten(tree), trees.flatten(other)
  return max(
    np.abs(tree[path] - leaf).max() / (np.abs(leaf).max() + 1e-30)
    for path, leaf in other.items()
  )


def check_population(program, numbers, changed, tolerance=1e-6):
  """Compares a vmapped program with one of Python floats, and its rows."""
  columns = one_changed(numbers, changed)
  population = jit(jax.vmap(program))(columns)
  solo = jit(lambda: program(as_floats(numbers)))()
  assert distance(row(population, 0), solo) <= tolerance
  for index, key in enumerate(numbers, 1):
    assert distance(row(population, index), row(population, 0)) > 0, key


# Defaults of 0, or so small that half of them changes no float32 parameter.
BASE = {
  "initial_scale": 0.1,
  "momentum": 0.5,
  "weight_decay": 0.1,
}
CHANGED = {"eps": 0.5, "eps_root": 0.5, "estim_lr0": 1e-3}


@pytest.mark.fast_cases("adafactor", "adamw", "lars", "muon", "prodigy", "sgd")
@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_number_of_every_optimizer_may_be_traced(name):
  numbers = {"learning_rate": 0.1}
  for key, parameter in inspect.signature(
    optim.OPTIMIZERS[name]
  ).parameters.items():
    if key == "betas":
      numbers |= {"beta_1": 0.9, "beta_2": 0.999}
    elif type(parameter.default) is float:
      numbers[key] = BASE.get(key, parameter.default)
  changed = {key: CHANGED.get(key, value / 2) for key, value in numbers.items()}
  # RAdam divides from the sixth update on, at its default b2.
  steps = 8 if name == "radam" else 3

  def program(numbers):
    settings = dict(numbers)
    if "beta_1" in settings:
      settings["betas"] = settings.pop("beta_1"), settings.pop("beta_2")
    return train(optim.create(name, **settings), steps=steps)

  check_population(program, numbers, changed)


def everything(numbers):
  """A program in which every number of `create` and `penalty` takes part."""
  rate = optim.schedule(
    "trapezoid",
    learning_rate=numbers["learning_rate"],
    steps=4,
    warmup=0.5,
    initial=numbers["initial"],
    final=numbers["final"],
    cooldown=0.5,
  )
  tx = optim.create(
    "adamw",
    learning_rate=rate,
    rates=(("bias", numbers["bias_rate"]),),
    layers=("embed", "block", "head"),
    layer_decay=numbers["layer_decay"],
    **{key: numbers[key] for key in CREATE},
  )
  penalty = optim.penalty(l1=numbers["l1"], l2=numbers["l2"])
  return train(tx, penalty=penalty, steps=4)


CREATE = {
  "clip_norm": 4.0,
  "clip_value": 3.0,
  "clip_layer": 3.0,
  "clip_adaptive": 2.5,
  "weight_decay": 0.1,
  "b1": 0.9,
  "b2": 0.99,
  "eps": 1e-2,
}
NUMBERS = {
  **CREATE,
  "learning_rate": 0.05,
  "initial": 0.25,
  "final": 0.125,
  "bias_rate": 2.0,
  "layer_decay": 0.75,
  "l1": 0.1,
  "l2": 0.2,
}


def test_every_number_of_create_and_penalty_may_be_traced():
  changed = {key: value / 2 for key, value in NUMBERS.items()}
  check_population(everything, NUMBERS, changed)


@pytest.mark.slow  # test_population.py trains one in the fast tier.
def test_a_population_equals_runs_with_python_floats():
  generator = np.random.default_rng(0)
  columns = {
    key: (value * generator.uniform(0.5, 1.0, 8)).astype(np.float32)
    for key, value in NUMBERS.items()
  }
  # The last member has zeros wherever a range allows one.
  for key in NUMBERS.keys() - {"eps", "layer_decay"}:
    columns[key][-1] = 0.0
  population = jit(jax.vmap(everything))(columns)
  for index in range(8):
    floats = as_floats(row(columns, index))
    solo = jit(functools.partial(everything, floats))()
    assert distance(row(population, index), solo) <= 1e-6
  assert distance(row(population, 7), PARAMS) == 0


SHAPE_NUMBERS = {"initial": 0.25, "final": 0.125, "power": 2.0, "factor": 0.5}


@pytest.mark.parametrize("name", optim.SCHEDULES)
def test_every_rate_of_every_schedule_may_be_traced(name):
  settings = inspect.signature(optim.SCHEDULES[name]).parameters
  numbers = {"learning_rate": 0.3} | {
    key: value for key, value in SHAPE_NUMBERS.items() if key in settings
  }
  if name == "plateau":
    del numbers["factor"]
  static = {"boundaries": (20,), "warmup": 0.3, "warmup_steps": 30}
  static = {key: value for key, value in static.items() if key in settings}

  def program(numbers):
    rate = optim.schedule(name, steps=100, **numbers, **static)
    return {"curve": jax.vmap(rate)(jnp.arange(101))}

  changed = {key: value / 2 for key, value in numbers.items()}
  check_population(program, numbers, changed)


@pytest.mark.parametrize(
  ("name", "setting"),
  [
    ("cosine", "warmup"),
    ("trapezoid", "cooldown"),
    ("constant", "warmup_steps"),
    # The host acts on them, between steps.
    ("plateau", "factor"),
    ("plateau", "min_scale"),
  ],
)
def test_numbers_that_set_the_program_are_refused_if_traced(name, setting):
  def program(number):
    rate = optim.schedule(
      name, learning_rate=1.0, steps=10, **{setting: number}
    )
    return rate(0)

  with pytest.raises(UserError, match=f"expected {setting} to be a Python"):
    jax.eval_shape(program, 0.5)


def updates(grads, **settings):
  """Returns the updates of SGD with rate 1: the negative clipped gradient."""
  tx = optim.create("sgd", learning_rate=1.0, **settings)
  return tx.update(grads, tx.init(PARAMS), PARAMS)[0]


CLIPS = ["clip_norm", "clip_value", "clip_layer", "clip_adaptive"]


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("scale", [1.0, 1e30])  # The norm of 1e30 overflows.
def test_a_traced_clip_of_infinity_is_off(clip, scale):
  grads = jax.tree.map(lambda leaf: np.float32(scale) * leaf, PARAMS)
  clipped = jit(lambda grads, limit: updates(grads, **{clip: limit}))(
    grads, jnp.inf
  )
  assert distance(clipped, updates(grads)) == 0


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_traced_clip_of_zero_stops_the_gradient(clip, scale):
  grads = jax.tree.map(lambda leaf: np.float32(scale) * leaf, PARAMS)
  clipped = jit(lambda limit: updates(grads, **{clip: limit}))(0.0)
  for leaf in jax.tree.leaves(clipped):
    np.testing.assert_array_equal(leaf, 0)


def jaxpr(function, *arguments):
  return str(jax.make_jaxpr(function)(*arguments))


@pytest.mark.parametrize("off", [0, 0.0, float("inf")])
def test_concrete_clips_that_are_off_compile_to_nothing(off):
  clips = dict.fromkeys(CLIPS, off)
  with_clips = jaxpr(lambda grads: updates(grads, **clips), PARAMS)
  assert with_clips == jaxpr(updates, PARAMS)


def test_a_concrete_zero_compiles_to_nothing():
  def decayed(grads):
    return updates(grads, weight_decay=0, momentum=0)

  assert jaxpr(decayed, PARAMS) == jaxpr(updates, PARAMS)
  assert "abs" not in jaxpr(optim.penalty(l1=0, l2=0.5), PARAMS)
  assert "square" not in jaxpr(optim.penalty(l1=0.5, l2=0), PARAMS)


def test_a_traced_penalty_of_zero_is_a_value():
  total = jax.jit(lambda l1, l2: optim.penalty(l1, l2)(PARAMS))(0.0, 0.0)
  assert total == 0

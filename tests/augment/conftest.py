"""Fixtures of the tests of augmentations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

# Compiling takes most of the time of these tests.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


@pytest.fixture(scope="session")
def photos():
  """Six random images, uint8 `[6, 9, 7, 3]`, without zeros."""
  return np.random.default_rng(0).integers(1, 256, (6, 9, 7, 3), np.uint8)


@pytest.fixture(scope="session")
def augmented():
  """Function that augments an image once by each of 300 keys."""
  keys = jax.random.split(jax.random.key(0), 300)

  def run(function, image, count=300):
    program = jit(jax.vmap(function, (0, None)))
    return program(keys[:count], jnp.asarray(image))

  return run


@pytest.fixture(scope="session")
def compiled():
  """`jax.jit` without optimizations of the compiler."""
  return jit

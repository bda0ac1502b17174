"""Tests run offline, on the CPU, with eight virtual devices."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import pytest


@pytest.fixture
def one_device():
  """The list of a single device: most properties need no more."""
  import jax

  return jax.local_devices()[:1]

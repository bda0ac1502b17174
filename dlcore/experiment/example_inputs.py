"""The inputs of one example, for shapes and traces."""

import jax
import jax.numpy as jnp

from dlcore import data


def example_inputs(info: data.DataInfo) -> dict[str, jax.Array]:
  """Returns zeros `[1, ...]` for every input that `info` describes.

  Inputs of 64 bits have 32, as on the devices.
  """
  return {
    name: jnp.zeros((1, *shape), jax.dtypes.canonicalize_dtype(dtype))
    for name, (shape, dtype) in info.inputs.items()
  }

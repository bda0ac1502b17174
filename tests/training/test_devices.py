"""One device, eight, `jit` and `pmap` train alike."""

import jax
import numpy as np
import problem
import pytest

from dlcore.errors import UserError


def losses(workdir, **settings):
  result = problem.fit(workdir, log_every=1, steps=20, **settings)
  rows = problem.lines(workdir, "train")
  return result, np.array([row["loss"] for row in rows])


@pytest.mark.slow
def test_eight_devices_equal_one(tmp_path):
  _, one = losses(tmp_path / "one")
  _, eight = losses(tmp_path / "eight", devices=jax.local_devices())
  assert np.abs(one - eight).max() / np.abs(one).max() < 1e-5


@pytest.mark.slow  # test_collections.py compares both in the fast tier.
@pytest.mark.parametrize("placement", ["device", "stream"])
@pytest.mark.parametrize("steps_per_call", [1, 5])
def test_pmap_equals_jit(tmp_path, placement, steps_per_call):
  devices = jax.local_devices()
  jit_result, jit = losses(
    tmp_path / "jit", devices=devices, net=problem.Net(dropout=0.0)
  )
  pmap_result, pmap = losses(
    tmp_path / "pmap",
    devices=devices,
    net=problem.Net(dropout=0.0, axis_name="data"),
    compiler="pmap",
    placement=placement,
    steps_per_call=steps_per_call,
  )
  assert np.abs(jit - pmap).max() / np.abs(jit).max() < 1e-5
  assert jax.tree.structure(jit_result) == jax.tree.structure(pmap_result)


def test_a_batch_that_devices_do_not_divide_is_refused_with_the_arithmetic():
  with pytest.raises(UserError, match=r"12 / 8 = 1.5") as caught:
    problem.fit(batch_size=12, devices=jax.local_devices())
  assert caught.value.lines[-1] == "try 8 or 16"

"""Looks inside the step: right numbers, and no other bit changed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problem
import pytest

from dlcore import tasks
from dlcore.data.source import indices
from dlcore.training import state as states


def lines(workdir, split="layers"):
  rows = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  return [row for row in rows if row["split"] == split]


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
  folder = tmp_path_factory.mktemp("watched")
  problem.fit(folder, steps=20, watch_every=5)
  return folder


def test_a_line_comes_at_every_interval_with_every_layer(watched):
  rows = lines(watched)
  assert [row["step"] for row in rows] == [1, 6, 11, 16]
  names = {
    *(
      f"{what}/{layer}/{leaf}"
      for what in ("gradient_norm", "update_ratio")
      for layer, leaf in (
        ("dense_0", "kernel"),
        ("dense_0", "bias"),
        ("norm_0", "scale"),
        ("norm_0", "bias"),
        ("head", "kernel"),
        ("head", "bias"),
      )
    ),
    *(f"activation_rms/{layer}" for layer in ("dense_0", "norm_0", "head")),
  }
  assert set(rows[-1]) == {"step", "split", *names}
  # New biases are 0, of which nothing is a share.
  zeros = {name for name in names if name not in rows[0]}
  assert zeros == {
    f"update_ratio/{layer}/bias" for layer in ("dense_0", "norm_0", "head")
  }


@problem.optimized()
def test_no_bit_of_the_run_changes(tmp_path):
  plain = problem.leaves(problem.fit(steps=20))
  watched = problem.leaves(problem.fit(tmp_path, steps=20, watch_every=5))
  assert lines(tmp_path)
  for path, leaf in plain.items():
    assert leaf.tobytes() == watched[path].tobytes(), path


def test_the_norms_are_those_of_the_update(tmp_path):
  """Every step is looked at, so that parameters before and after are known."""
  states = {n: problem.fit(steps=n, eval_every=100) for n in (4, 5)}
  problem.fit(tmp_path, steps=5, watch_every=1, log_every=1)
  row = lines(tmp_path)[4]
  before, after = (problem.leaves(states[n].params) for n in (4, 5))
  for path in before:
    update = np.linalg.norm(after[path] - before[path])
    ratio = update / np.linalg.norm(before[path])
    # The difference of what is rounded has fewer digits.
    assert row[f"update_ratio/{path}"] == pytest.approx(ratio, rel=1e-3), path
  norms = [v for k, v in row.items() if k.startswith("gradient_norm/")]
  train = lines(tmp_path, "train")[4]
  assert np.linalg.norm(norms) == pytest.approx(
    train["gradient_norm"], rel=1e-5
  )


def test_activations_are_those_of_the_model(tmp_path):
  net = problem.Net(dropout=0.0)
  problem.fit(tmp_path, steps=1, watch_every=1, net=net, augment=None)
  row = lines(tmp_path)[0]
  source = problem.source(50)
  task = tasks.classification(net, label_smoothing=0.1)
  rows = np.arange(2, dtype=np.int32)
  batch = {**source.read(rows), "index": rows}
  state = states.create(task, optax.sgd(1.0), batch, 0)
  images = source.read(indices(0, 0, source.size, 16))["image"]
  _, seen = net.apply(
    {"params": state.params, "batch_stats": state.extra["batch_stats"]},
    images.astype(np.float32) / 255,
    train=True,
    capture_intermediates=True,
    mutable=["intermediates", "batch_stats"],
  )
  for layer in ("dense_0", "norm_0", "head"):
    (output,) = seen["intermediates"][layer]["__call__"]
    rms = float(jnp.sqrt(jnp.mean(jnp.square(output))))
    assert row[f"activation_rms/{layer}"] == pytest.approx(rms, rel=1e-5)


def test_a_run_that_goes_on_writes_the_same_lines(watched, tmp_path):
  problem.fit(tmp_path, steps=10, watch_every=5)
  problem.fit(tmp_path, steps=20, watch_every=5)
  assert lines(tmp_path) == lines(watched)


@pytest.mark.parametrize(
  "settings",
  [
    {"steps_per_call": 5},
    {"accumulate": 4},
    {"compiler": "pmap", "devices": 2},
  ],
)
def test_other_ways_to_run_give_the_same_numbers(tmp_path, settings):
  if "devices" in settings:
    settings = {**settings, "devices": jax.local_devices()[:2]}
  axis = "data" if "compiler" in settings else None
  plain = problem.Net(dropout=0.0)
  problem.fit(tmp_path / "a", steps=5, watch_every=5, net=plain, augment=None)
  net = problem.Net(dropout=0.0, axis_name=axis)
  problem.fit(
    tmp_path / "b", steps=5, watch_every=5, net=net, augment=None, **settings
  )
  (want,), (got,) = lines(tmp_path / "a"), lines(tmp_path / "b")
  assert want.keys() == got.keys()
  if "accumulate" in settings:  # Batch norm sees the parts: other numbers.
    return
  for name in want.keys() - {"split"}:
    # Sums in another order; the gradient before batch norm is close to 0.
    assert got[name] == pytest.approx(want[name], rel=1e-3, abs=1e-6), name


def test_only_what_is_trained_is_looked_at(tmp_path):
  problem.fit(tmp_path, steps=1, watch_every=1, freeze="^(?!head/)")
  (row,) = lines(tmp_path)
  norms = {name for name in row if name.startswith("gradient_norm/")}
  assert norms == {"gradient_norm/head/kernel", "gradient_norm/head/bias"}

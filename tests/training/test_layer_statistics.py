"""Layer statistics are exact, and change no bit of the run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problem
import pytest
from flax import linen as nn

from dlcore import tasks, training


def lines(workdir):
  return problem.lines(workdir, "layers")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
  folder = tmp_path_factory.mktemp("measured")
  problem.fit(folder, steps=20, layer_statistics_every=5)
  return folder


def test_a_line_comes_at_every_interval_with_every_layer(measured):
  rows = lines(measured)
  assert [row["step"] for row in rows] == [1, 6, 11, 16]
  names = {
    *(
      f"{kind}/{layer}/{leaf}"
      for kind in ("gradient_norm", "update_ratio")
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
  # New biases are 0, and a ratio to 0 is omitted.
  missing = {name for name in names if name not in rows[0]}
  assert missing == {
    f"update_ratio/{layer}/bias" for layer in ("dense_0", "norm_0", "head")
  }


@pytest.mark.slow
@problem.optimized()
def test_no_bit_of_the_run_changes(tmp_path):
  plain = problem.fit(steps=20)
  measured = problem.fit(tmp_path, steps=20, layer_statistics_every=5)
  assert lines(tmp_path)
  problem.assert_equal(measured, plain)


@pytest.mark.slow
def test_the_norms_are_those_of_the_update(tmp_path):
  """Every step is measured; the parameters before and after it are known."""
  states = {n: problem.fit(steps=n, eval_every=100).last for n in (4, 5)}
  problem.fit(tmp_path, steps=5, layer_statistics_every=1, log_every=1)
  row = lines(tmp_path)[4]
  before, after = (problem.leaves(states[n].params) for n in (4, 5))
  for path in before:
    update = np.linalg.norm(after[path] - before[path])
    ratio = update / np.linalg.norm(before[path])
    # The difference of rounded values has fewer digits.
    assert row[f"update_ratio/{path}"] == pytest.approx(ratio, rel=1e-3), path
  norms = [v for k, v in row.items() if k.startswith("gradient_norm/")]
  train = problem.lines(tmp_path, "train")[4]
  assert np.linalg.norm(norms) == pytest.approx(
    train["gradient_norm"], rel=1e-5
  )


@pytest.mark.slow
def test_activations_are_those_of_the_model(tmp_path):
  net = problem.Net(dropout=0.0)
  problem.fit(
    tmp_path, steps=1, layer_statistics_every=1, net=net, augment=None
  )
  row = lines(tmp_path)[0]
  batch = problem.source(50).read(problem.indices(0))
  task = tasks.classification(net, label_smoothing=0.1)
  state = training.init_state(task, optax.sgd(1.0), batch)
  _, collections = net.apply(
    {"params": state.params, "batch_stats": state.model_state["batch_stats"]},
    batch["image"].astype(np.float32) / 255,
    train=True,
    capture_intermediates=True,
    mutable=["intermediates", "batch_stats"],
  )
  for layer in ("dense_0", "norm_0", "head"):
    (output,) = collections["intermediates"][layer]["__call__"]
    rms = float(jnp.sqrt(jnp.mean(jnp.square(output))))
    assert row[f"activation_rms/{layer}"] == pytest.approx(rms, rel=1e-5)


class Output(nn.Module):
  """Two layers, each inside a module of its own."""

  @nn.compact
  def __call__(self, x):
    x = nn.Dense(4, name="output")(x)
    return nn.Dense(3, name="head")(x)


class Nested(nn.Module):
  """A model whose modules have the name of the collection's arrays."""

  @nn.compact
  def __call__(self, x, *, train):
    del train
    return Output(name="output")(x.reshape(x.shape[0], -1))


@pytest.mark.slow
def test_layers_called_output_keep_their_names(tmp_path):
  problem.fit(
    tmp_path, steps=1, layer_statistics_every=1, net=Nested(), augment=None
  )
  (row,) = lines(tmp_path)
  names = {key for key in row if key.startswith("activation_rms/")}
  layers = ("output", "output/output", "output/head")
  assert names == {f"activation_rms/{path}" for path in layers}


@pytest.mark.slow
def test_a_run_that_continues_writes_the_same_lines(measured, tmp_path):
  problem.fit(tmp_path, steps=10, layer_statistics_every=5)
  problem.fit(tmp_path, steps=20, layer_statistics_every=5)
  assert lines(tmp_path) == lines(measured)


@pytest.mark.parametrize(
  "settings",
  [
    pytest.param({"steps_per_call": 5}, marks=pytest.mark.slow),
    pytest.param({"accumulate": 4}, marks=pytest.mark.slow),
    pytest.param({"compiler": "pmap", "devices": 2}, marks=pytest.mark.slow),
  ],
)
def test_other_ways_to_run_give_the_same_numbers(tmp_path, settings):
  if "devices" in settings:
    settings = {**settings, "devices": jax.local_devices()[:2]}
  axis = "data" if "compiler" in settings else None
  shared = {"steps": 5, "layer_statistics_every": 5, "augment": None}
  net = problem.Net(dropout=0.0)
  problem.fit(tmp_path / "a", net=net, **shared)
  net = problem.Net(dropout=0.0, axis_name=axis)
  problem.fit(tmp_path / "b", net=net, **shared, **settings)
  (expected,), (actual,) = lines(tmp_path / "a"), lines(tmp_path / "b")
  assert expected.keys() == actual.keys()
  if "accumulate" in settings:  # Batch norm reads micro-batches: other numbers.
    return
  for name in expected.keys() - {"split"}:
    # Sums in another order; the gradient before batch norm is close to 0.
    assert actual[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-6), (
      name
    )


@pytest.mark.slow
def test_only_trained_parameters_are_measured(tmp_path):
  problem.fit(tmp_path, steps=1, layer_statistics_every=1, freeze="^(?!head/)")
  (row,) = lines(tmp_path)
  norms = {name for name in row if name.startswith("gradient_norm/")}
  assert norms == {"gradient_norm/head/kernel", "gradient_norm/head/bias"}

"""Frozen parameters cost nothing and do not change."""

import os
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import problem
import pytest

from dlcore import layers, models, optim, tasks, training, trees
from dlcore.data.source import Source
from dlcore.errors import UserError

TRUNK = "^(?!head/)"


def fit(*arguments, freeze=TRUNK, **settings):
  return problem.fit(*arguments, freeze=freeze, **settings).last


@pytest.mark.slow
def test_only_trained_parameters_change():
  before = problem.leaves(fit(steps=1, eval_every=100))
  after = problem.leaves(fit(steps=20, eval_every=100))
  changed = {path for path in before if (before[path] != after[path]).any()}
  assert not {path for path in changed if path.startswith("model_state/")}
  assert {"params/head/kernel", "params/head/bias"} <= changed


@pytest.mark.slow
def test_frozen_parameters_keep_their_initial_values():
  frozen = {}

  def initial(params, model_state):
    frozen.update(jax.tree.map(np.asarray, model_state["frozen"]))
    return params, model_state

  state = fit(steps=20, eval_every=100, initial=initial)
  assert set(frozen) == {"dense_0", "norm_0"}
  problem.assert_equal(state.model_state["frozen"], frozen)


def test_optimizer_and_average_hold_only_trained_parameters():
  state = fit(steps=1)
  trained = {"head/kernel", "head/bias"}
  assert set(trees.flatten(state.params)) == trained
  assert set(trees.flatten(state.average["params"])) == trained
  paths = [path for path in trees.flatten(state.opt_state) if "/mu/" in path]
  assert len(paths) == 2
  assert not [p for p in trees.flatten(state.opt_state) if "dense_0" in p]
  params, model_state = training.evaluation_variables(state)
  assert set(trees.flatten(params)) == trained
  assert set(trees.flatten(model_state["frozen"])) == {
    *(f"dense_0/{name}" for name in ("kernel", "bias")),
    *(f"norm_0/{name}" for name in ("scale", "bias")),
  }


def test_variables_are_those_of_the_whole_model():
  task = tasks.classification(problem.Net())
  batch = problem.source(8).read(np.arange(8))
  whole = problem.Net().init(jax.random.key(0), batch["image"], train=False)
  state = fit(steps=3)
  variables = tasks.variables(tasks.freeze(task, TRUNK), state)
  assert set(trees.flatten(variables)) == set(trees.flatten(dict(whole)))
  head = problem.leaves(state.average["params"])["head/kernel"]
  np.testing.assert_array_equal(variables["params"]["head"]["kernel"], head)


def test_the_variables_of_a_task_of_ones_own_have_the_frozen_parameters():
  task = tasks.classification(problem.Net())
  own = task._replace(
    variables=lambda params, state: {"params": {"model": params}, **state}
  )
  state = fit(steps=3)
  variables = tasks.variables(tasks.freeze(own, TRUNK), state)
  assert variables.keys() == {"params", "batch_stats"}
  assert variables["params"]["model"].keys() == {"dense_0", "norm_0", "head"}


@pytest.mark.slow
def test_norms_and_penalties_are_those_of_trained_parameters(tmp_path):
  fit(tmp_path, steps=1, log_every=1, ema=0.0)
  line = problem.lines(tmp_path, "train")[0]
  source = problem.source(50)
  task = tasks.classification(problem.Net(), label_smoothing=0.1)
  chosen = problem.indices(0)
  batch = {
    **source.read(chosen),
    "index": chosen,
    "slot": np.arange(16, dtype=np.int32),
  }
  frozen = tasks.freeze(tasks.augmented(task, problem.AUGMENT), TRUNK)
  state = training.init_state(frozen, optax.sgd(1.0), batch)
  # The keys that `make_update` derives.
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key), 0)
  prepare_key, loss_key = jax.random.split(key)
  model_state, batch = frozen.prepare(
    state.params, state.model_state, batch, prepare_key
  )
  model_state = dict(model_state)
  trunk = model_state.pop("frozen")

  def loss(head):
    with layers.frozen(TRUNK):
      (total, weight), _ = task.loss(
        {**trunk, **head}, model_state, batch, loss_key
      )
    return total / weight + optim.penalty(l2=1e-3)(head)

  norm = float(optax.tree.norm(jax.grad(loss)(state.params)))
  assert line["gradient_norm"] == pytest.approx(norm, rel=1e-5)


@pytest.mark.slow
def test_the_gradient_of_frozen_parameters_is_not_computed():
  model = models.create("cnn", num_classes=3, stages=((8, 8),))

  def flops(pattern):
    task = tasks.freeze(tasks.classification(model), pattern)
    batch = problem.source(8).read(np.arange(8))
    batch = {**batch, "index": np.arange(8, dtype=np.int32)}
    tx = optim.create("adamw", learning_rate=1e-3)
    state = training.init_state(task, tx, batch)
    lowered = jax.jit(training.make_step(task, tx)).lower(state, batch)
    return lowered.compile().cost_analysis()["flops"]

  # The backward pass, twice as much as the forward one, is almost gone.
  assert flops(TRUNK) < 0.5 * flops("")


@pytest.mark.parametrize("as_argument", [True, False])
def test_frozen_batch_norm_and_dropout_act_as_in_evaluation(as_argument):
  class Block(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      field = {} if as_argument else {"use_running_average": not train}
      argument = {"use_running_average": not train} if as_argument else {}
      x = nn.BatchNorm(name="norm", **field)(x, **argument)
      x = layers.Dropout(0.5, name="drop")(x, train=train)
      field = {} if as_argument else {"deterministic": not train}
      argument = {"deterministic": not train} if as_argument else {}
      return nn.Dropout(0.5, name="flax", **field)(x, **argument)

  class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      for i in range(2):
        x = nn.Dense(6, name=f"dense_{i}")(x)
        x = Block(name=f"block_{i}")(x, train=train)
      return x

  x = jax.random.normal(jax.random.key(0), (5, 6))
  variables = Net().init(jax.random.key(1), x, train=False)

  def apply(pattern, seed):
    with layers.frozen(pattern):
      return Net().apply(
        variables,
        x,
        train=True,
        rngs={"dropout": jax.random.key(seed)},
        mutable=["batch_stats"],
      )

  y, updated = apply(r"^block_", 0)
  np.testing.assert_array_equal(y, Net().apply(variables, x, train=False))
  assert jax.tree.all(
    jax.tree.map(
      jnp.array_equal, updated["batch_stats"], variables["batch_stats"]
    )
  )
  # The statistics of the second block alone still change.
  _, updated = apply(r"^block_0/.*(scale|bias)$", 0)
  stats = updated["batch_stats"]
  before = variables["batch_stats"]
  assert jnp.array_equal(
    stats["block_0"]["norm"]["mean"], before["block_0"]["norm"]["mean"]
  )
  assert not jnp.array_equal(
    stats["block_1"]["norm"]["mean"], before["block_1"]["norm"]["mean"]
  )
  assert not jnp.array_equal(apply("^block_0/", 0)[0], apply("^block_0/", 1)[0])


def test_dropout_is_not_frozen_with_half_of_its_module():
  class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.Dense(4, name="dense")(x)
      return layers.Dropout(0.5, name="dropout")(x, train=True)

  class Outer(nn.Module):
    @nn.compact
    def __call__(self, x):
      return Net(name="inner")(x)

  x = jnp.ones((64, 4))
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
  variables = {"params": Outer().init(rngs, x)["params"]}

  def zeros(pattern):
    with layers.frozen(pattern):
      return int((Outer().apply(variables, x, rngs=rngs) == 0).sum())

  assert zeros("kernel$") > 50
  assert zeros("^inner/dense/") == 0
  assert zeros("dropout") == 0


@problem.optimized()
@pytest.mark.slow
def test_a_frozen_run_continues_with_the_same_bits(tmp_path):
  straight = fit(tmp_path / "straight")
  train = problem.source(50)
  reads = []

  def read(rows):
    reads.append(rows)
    if len(reads) == 25:
      os.kill(os.getpid(), signal.SIGTERM)
    return train.read(rows)

  stopping = Source(train.size, None, read, train.info)
  with pytest.raises(training.Stopped):
    fit(tmp_path / "run", train=stopping, placement="stream")
  problem.assert_equal(fit(tmp_path / "run"), straight)
  folders = (tmp_path / "run", tmp_path / "straight")
  problem.assert_equal(*map(problem.saved, folders))


@pytest.mark.slow
def test_pmap_and_accumulation_freeze_the_same():
  plain = problem.leaves(fit(steps=5, net=problem.Net(dropout=0.0)).params)
  devices = jax.local_devices()[:2]
  mapped = fit(
    steps=5,
    net=problem.Net(dropout=0.0, axis_name="data"),
    compiler="pmap",
    devices=devices,
  )
  parts = fit(steps=5, net=problem.Net(dropout=0.0), accumulate=4)
  for state in (mapped, parts):
    assert set(problem.leaves(state.params)) == set(plain)
    for path, leaf in problem.leaves(state.params).items():
      # Sums in another order; Adam divides by numbers that may be small.
      np.testing.assert_allclose(leaf, plain[path], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
  ("pattern", "message"),
  [
    ("conv", "matches no path"),
    (".", "matches all"),
    ("(", "regular expression"),
  ],
)
def test_patterns_that_freeze_nothing_or_all_are_refused(pattern, message):
  with pytest.raises(UserError, match=message):
    fit(freeze=pattern)

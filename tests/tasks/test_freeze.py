"""Law 5: what is frozen costs nothing and does not move."""

import json
import os
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import problem
import pytest

from dlcore import augment, layers, models, optim, tasks, training, trees
from dlcore.data.source import Source, indices
from dlcore.errors import UserError
from dlcore.training import gradient
from dlcore.training import state as states

TRUNK = "^(?!head/)"


def fit(*arguments, freeze=TRUNK, **settings):
  return problem.fit(*arguments, freeze=freeze, **settings)


def test_only_what_is_not_frozen_moves():
  before = problem.leaves(fit(steps=1, eval_every=100).replace(decided={}))
  after = problem.leaves(fit(steps=20, eval_every=100).replace(decided={}))
  moved = {path for path in before if (before[path] != after[path]).any()}
  frozen = ("params/dense_0", "params/norm_0", "extra/batch_stats")
  assert not {path for path in moved if path.startswith(frozen)}
  assert {"params/head/kernel", "params/head/bias"} <= moved


def test_the_optimizer_and_the_average_hold_only_what_is_trained():
  state = fit(steps=1)
  assert set(trees.flatten(state.ema)) == {"head/kernel", "head/bias"}
  paths = [path for path in trees.flatten(state.optimizer) if "/mu/" in path]
  assert len(paths) == 2
  assert not [p for p in trees.flatten(state.optimizer) if "dense_0" in p]
  assert set(trees.flatten(state.evaluated)) == set(trees.flatten(state.params))


def test_norms_and_penalties_are_those_of_what_is_trained(tmp_path):
  fit(tmp_path, steps=1, log_every=1, ema=0.0)
  line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
  source = problem.source(50)
  task = tasks.classification(problem.Net(), label_smoothing=0.1)
  rows = np.arange(2, dtype=np.int32)
  state = states.create(
    task, optax.sgd(1.0), {**source.read(rows), "index": rows}, 0, freeze=TRUNK
  )
  chosen = indices(0, 0, source.size, 16)
  extra, batch, key = gradient.prepared(
    task,
    augment.compose({"shift": 1, "flip": True}),
    state,
    {**source.read(chosen), "index": chosen},
    None,
  )

  def loss(head):
    params = {**state.params, "head": head}
    with layers.frozen(TRUNK):
      (total, weight), _ = task.loss(params, extra, batch, key)
    return total / weight + optim.penalty(l2=1e-3)({"head": head})

  grads = jax.grad(loss)(state.params["head"])
  norm = float(optax.tree.norm(grads))
  assert line["gradient_norm"] == pytest.approx(norm, rel=1e-5)


def test_the_gradient_of_what_is_frozen_is_not_computed():
  model = models.create("cnn", num_classes=3, stages=((8, 8),))
  task = tasks.classification(model)

  def flops(freeze):
    batch = problem.source(8).read(np.arange(8))
    batch = {**batch, "index": np.arange(8, dtype=np.int32)}
    tx = optim.create("adamw", learning_rate=1e-3)
    state = states.create(task, tx, batch, 0, freeze=freeze)
    step = training.make_step(task, tx, freeze=freeze)
    lowered = jax.jit(step).lower(state.replace(decided={}), {}, batch)
    return lowered.compile().cost_analysis()["flops"]

  # Backwards is twice what forwards is, of which hardly anything is left.
  assert flops(TRUNK) < 0.5 * flops("")


@pytest.mark.parametrize("as_argument", [True, False])
def test_frozen_batch_norm_and_dropout_act_as_in_evaluation(as_argument):
  class Block(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
      fixed = {} if as_argument else {"use_running_average": not train}
      given = {"use_running_average": not train} if as_argument else {}
      x = nn.BatchNorm(name="norm", **fixed)(x, **given)
      x = layers.Dropout(0.5, name="drop")(x, train=train)
      fixed = {} if as_argument else {"deterministic": not train}
      given = {"deterministic": not train} if as_argument else {}
      return nn.Dropout(0.5, name="flax", **fixed)(x, **given)

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
  # The second block alone still moves.
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


def test_dropout_is_not_frozen_by_half_of_its_module():
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
def test_a_frozen_run_goes_on_with_the_same_bits(tmp_path):
  straight = problem.leaves(fit(tmp_path / "straight"))
  train = problem.source(50)
  reads = []

  def read(rows):
    reads.append(rows)
    if len(reads) == 25:
      os.kill(os.getpid(), signal.SIGTERM)
    return train.read(rows)

  stopping = Source(train.size, None, read, train.about)
  with pytest.raises(training.Stopped):
    fit(tmp_path / "run", train=stopping, placement="stream")
  again = problem.leaves(fit(tmp_path / "run"))
  for path, leaf in straight.items():
    assert leaf.tobytes() == again[path].tobytes(), path


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
    for path, leaf in problem.leaves(state.params).items():
      # Sums in another order; Adam divides by what may be small.
      np.testing.assert_allclose(leaf, plain[path], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
  ("pattern", "message"),
  [
    ("conv", "found in none"),
    (".", "found in all"),
    ("(", "regular expression"),
  ],
)
def test_patterns_that_freeze_nothing_or_all_are_refused(pattern, message):
  with pytest.raises(UserError, match=message):
    fit(freeze=pattern)

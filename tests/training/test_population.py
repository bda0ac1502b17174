"""Numbers that vary: a population in one program equals runs of its own."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import augment, data, layers, optim, tasks, training, trees

STEPS = 5
BATCH_SIZE = 16

BASE = {
  "learning_rate": 0.05,
  "weight_decay": 0.1,
  "b1": 0.9,
  "b2": 0.95,
  "clip_norm": 0.5,
  "dropout": 0.2,
  "label_smoothing": 0.1,
  "l2": 0.05,
  "noise": 0.1,
}
CHANGED = {
  "learning_rate": 0.02,
  "weight_decay": 0.4,
  "b1": 0.7,
  "b2": 0.9,
  "clip_norm": 0.1,
  "dropout": 0.5,
  "label_smoothing": 0.3,
  "l2": 0.2,
  "noise": 0.3,
}
# All numbers of the members differ; one is all zeros, one is not clipped.
MEMBERS = [
  dict.fromkeys(BASE, 0.0),
  BASE,
  {**CHANGED, "clip_norm": float("inf")},
  *(
    {
      "learning_rate": 0.011 * i,
      "weight_decay": 0.051 * i,
      "b1": 0.51 + 0.05 * i,
      "b2": 0.8 + 0.03 * i,
      "clip_norm": 0.21 * i,
      "dropout": 0.07 * i,
      "label_smoothing": 0.031 * i,
      "l2": 0.011 * i,
      "noise": 0.021 * i,
    }
    for i in (1, 2, 3, 4, 6)
  ),
]


class Net(nn.Module):
  """A perceptron with dropout; `dropout=None` has no such layer."""

  dropout: jax.Array | float | None = 0.0

  @nn.compact
  def __call__(self, x, *, train):
    x = jnp.tanh(nn.Dense(8, name="dense_0")(x.reshape(x.shape[0], -1)))
    if self.dropout is not None:
      x = layers.Dropout(self.dropout, name="dropout")(x, train=train)
    return nn.Dense(3, name="head")(x)


def build(hparams):
  """Returns task and optimizer; the numbers may be traced."""
  task = tasks.classification(
    Net(hparams["dropout"]), label_smoothing=hparams["label_smoothing"]
  )
  task = tasks.augmented(task, augment.compose({"noise": hparams["noise"]}))
  tx = optim.create(
    "adamw",
    learning_rate=optim.schedule(
      "warmup_cosine", learning_rate=hparams["learning_rate"], steps=20
    ),
    weight_decay=hparams["weight_decay"],
    b1=hparams["b1"],
    b2=hparams["b2"],
    clip_norm=hparams["clip_norm"],
    # Adam does not depend on the scale of the gradient, but for eps.
    eps=1e-2,
  )
  return task, tx


@functools.cache
def batches():
  generator = np.random.default_rng(0)
  labels = generator.integers(0, 3, 64).astype(np.int32)
  images = generator.normal(size=(64, 4, 4, 1)) + labels[:, None, None, None]
  images = np.clip(images / 4 + 0.25, 0, 1).astype(np.float32)
  order = data.shuffled(64, BATCH_SIZE)
  source = data.from_arrays({"image": images, "label": labels})
  return [
    {**source.read(rows), "index": rows, "slot": np.arange(BATCH_SIZE)}
    for rows in (order(0, i).index for i in range(STEPS))
  ]


def init(hparams):
  return training.init_state(*build(hparams), batches()[0], hparams=hparams)


def make_step(hparams):
  penalty = optim.penalty(l2=hparams["l2"])
  return training.make_step(*build(hparams), penalty=penalty)


def population(members, steps):
  """Trains all members in one program; returns parameters `[P, ...]`."""
  hparams = {
    name: jnp.array([member[name] for member in members], jnp.float32)
    for name in BASE
  }
  state = jax.jit(jax.vmap(init))(hparams)

  @functools.partial(jax.jit, donate_argnums=0)
  @functools.partial(jax.vmap, in_axes=(0, None))
  def step(state, batch):
    return make_step(state.hparams)(state, batch)

  for batch in batches()[:steps]:
    state, _ = step(state, batch)
  assert set(state.hparams) == set(BASE)
  return trees.flatten(jax.device_get(state.params))


def solo(member, steps):
  """Trains one member in a program of its own, from Python floats."""
  state = training.init_state(*build(member), batches()[0])
  step = jax.jit(make_step(member))
  for batch in batches()[:steps]:
    state, _ = step(state, batch)
  return trees.flatten(jax.device_get(state.params))


@functools.cache
def eight():
  return population(MEMBERS, STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("member", range(len(MEMBERS)))
def test_a_member_of_a_population_equals_a_run_of_its_own(member):
  alone = solo(MEMBERS[member], STEPS)
  assert alone.keys() == eight().keys()
  for path, leaf in alone.items():
    difference = np.abs(eight()[path][member] - leaf).max()
    # Other programs round differently.
    assert difference <= 1e-5 * max(np.abs(leaf).max(), 1e-30), path


def test_the_members_differ_in_every_number():
  for name in BASE:
    assert len({member[name] for member in MEMBERS}) == len(MEMBERS) == 8, name


def test_only_a_member_of_zeros_keeps_its_initial_parameters():
  for path, leaf in population(MEMBERS, 0).items():
    np.testing.assert_array_equal(eight()[path][0], leaf[0])
    for member in range(1, len(MEMBERS)):
      assert (eight()[path][member] != leaf[member]).any()


def test_every_number_changes_the_parameters_within_three_steps():
  members = [BASE, *({**BASE, name: CHANGED[name]} for name in BASE)]
  params = population(members, 3)
  for number, name in enumerate(BASE, start=1):
    change = max(
      np.abs(leaf[number] - leaf[0]).max() / np.abs(leaf[0]).max()
      for leaf in params.values()
    )
    # Far above the rounding error of 1e-7.
    assert change > 1e-5, name


def jaxpr(make):
  """Returns the program of a step of `make() -> (task, tx, penalty)`."""
  task, tx, penalty = make()
  batch = batches()[0]
  state = training.init_state(task, tx, batch)
  return str(
    jax.make_jaxpr(training.make_step(task, tx, penalty=penalty))(state, batch)
  )


def plain(dropout=None, penalty=None, augmentation=None, **settings):
  task = tasks.augmented(tasks.classification(Net(dropout)), augmentation)
  return task, optim.create("adam", learning_rate=0.1, **settings), penalty


@pytest.mark.parametrize(
  "settings",
  [
    {"dropout": 0.0},
    {"clip_norm": 0.0},
    {"clip_norm": float("inf")},
    {"penalty": optim.penalty(l2=0.0)},
    {"augmentation": augment.compose({"noise": 0.0})},
  ],
)
def test_a_python_zero_compiles_to_nothing(settings):
  without = jaxpr(plain)
  assert jaxpr(functools.partial(plain, **settings)) == without


@pytest.mark.parametrize("settings", [{"dropout": 0.1}, {"clip_norm": 1.0}])
def test_other_numbers_compile_to_another_program(settings):
  assert jaxpr(functools.partial(plain, **settings)) != jaxpr(plain)

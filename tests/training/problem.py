"""A small problem with everything in it that a resume can lose."""

import contextlib
import json
import signal
import threading
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dlcore import augment as augmentation
from dlcore import data, optim, sharding, storage, tasks, training, trees

TIMES = ("seconds", "examples_per_second")
"""The fields of a line of the log that differ between equal runs."""

SAMPLES = training.Samples(
  prompts=("largest", "sum"),
  generate=lambda params, _: [
    jnp.stack([kind(leaf) for leaf in jax.tree.leaves(params)])
    for kind in (jnp.max, jnp.sum)
  ],
  decode=lambda output: [" ".join(map(str, row)) for row in output],
)
"""Texts that all parameters determine, in place of generated ones."""

AUGMENT = augmentation.compose({"shift": 1, "flip": True})
RATE = optim.schedule("warmup_cosine", learning_rate=0.02, steps=40)


class Net(nn.Module):
  """A perceptron with batch norm and dropout."""

  dropout: float = 0.2
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.Dense(16, name="dense_0")(x.reshape(x.shape[0], -1))
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.8,
      axis_name=self.axis_name,
      name="norm_0",
    )(x)
    x = nn.relu(x)
    if train and not (isinstance(self.dropout, float) and self.dropout == 0):
      keep = 1 - self.dropout
      mask = jax.random.bernoulli(self.make_rng("dropout"), keep, x.shape)
      x = jnp.where(mask, x / keep, 0)
    return nn.Dense(3, name="head")(x)


def source(size: int, seed: int = 0) -> data.Source:
  """Returns images 4x4 whose brightness depends on their class."""
  generator = np.random.default_rng(seed)
  labels = generator.integers(0, 3, size).astype(np.int32)
  noise = generator.integers(0, 60, (size, 4, 4, 1))
  images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
  return data.from_arrays({"image": images, "label": labels}, name="lights")


def indices(batch_index: int) -> np.ndarray:
  """Returns the examples of a batch of `fit` at its default settings."""
  return data.shuffled(50, 16)(0, batch_index).index


def spoiled(*batch_indices, factor=np.nan):
  """Multiplies the loss of some batches by `factor`; a wrapper of tasks."""
  bad = np.stack([indices(number) for number in batch_indices])

  def wrap(task):
    def loss(params, model_state, batch, key):
      hit = jnp.any(jnp.all(batch["index"] == bad, axis=1))
      (total, weight), rest = task.loss(params, model_state, batch, key)
      return (total * jnp.where(hit, factor, 1.0), weight), rest

    return task._replace(loss=loss)

  return wrap


def fit(
  workdir=None,
  *,
  net=None,
  steps=40,
  train=None,
  valid=None,
  wrap=lambda task: task,
  augment=AUGMENT,
  freeze="",
  rate=RATE,
  **settings,
) -> training.Result:
  """Trains on the problem with everything switched on."""
  settings = {
    "batch_size": 16,
    "penalty": optim.penalty(l2=1e-3),
    "ema": 0.9,
    "log_every": 3,
    "eval_every": 10,
    "checkpoint_every": 10,
    "devices": jax.local_devices()[:1],
    "progress": False,
    "samples": SAMPLES,
    **settings,
  }
  task = wrap(tasks.classification(net or Net(), label_smoothing=0.1))
  return training.fit(
    tasks.freeze(tasks.augmented(task, augment), freeze),
    optim.create("adamw", learning_rate=rate, clip_norm=1.0),
    train or source(50),
    source(30, seed=1) if valid is None else valid,
    steps=steps,
    workdir=workdir,
    **settings,
  )


@contextlib.contextmanager
def optimized():
  """Compiles as outside of the tests, where programs that differ must agree.

  The other tests optimize little, which could hide that sums change their
  order.
  """
  one = sharding.partitioner(1, devices=jax.local_devices()[:1])
  options = {
    **(one.compiler_options or {}),
    "xla_backend_optimization_level": 3,
  }
  options_of_all = property(lambda self: options)
  with mock.patch.object(
    sharding.Partitioner, "compiler_options", options_of_all
  ):
    yield


def compilations(run):
  """Returns the compilations before and after the handlers are installed.

  Args:
    run: a function without arguments that calls `training.fit`.
  """
  default = signal.getsignal(signal.SIGTERM)
  thread = threading.current_thread()
  before, after, listening = [], [], [True]

  def listen(event, seconds, **details):
    if not listening or threading.current_thread() is not thread:
      return
    if event == "/jax/core/compile/backend_compile_duration":
      installed = signal.getsignal(signal.SIGTERM) != default
      (after if installed else before).append(details)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    run()
  finally:
    listening.clear()  # A listener cannot be removed.
  return before, after


def leaves(state) -> dict[str, np.ndarray]:
  """Returns the leaves of a tree by path, on the host."""
  return {path: np.asarray(leaf) for path, leaf in trees.flatten(state).items()}


def saved(workdir) -> dict[str, np.ndarray]:
  """Returns the leaves of the newest checkpoint, decisions included."""
  folder = workdir / "checkpoints"
  step = storage.newest_step(folder)
  return leaves(storage.read_checkpoint(folder, step))


def assert_equal(first, second):
  """Compares two trees bit for bit in every leaf."""
  first, second = leaves(first), leaves(second)
  assert first.keys() == second.keys()
  for path, leaf in first.items():
    assert leaf.dtype == second[path].dtype, path
    assert leaf.tobytes() == second[path].tobytes(), path


def lines(workdir, split="") -> list[dict]:
  """Returns the lines of the log, of one split or all, without times."""
  text = (workdir / "metrics.jsonl").read_text()
  rows = map(json.loads, text.splitlines())
  rows = [row for row in rows if split in ("", row["split"])]
  return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def samples(workdir) -> dict:
  """Returns the texts of a run by step."""
  content = json.loads((workdir / "assets/samples.json").read_text())
  return {entry["step"]: entry["texts"] for entry in content["samples"]}

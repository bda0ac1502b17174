"""A small problem with everything in it that a resume can lose."""

import contextlib
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dlcore import augment, data, optim, tasks, training, trees
from dlcore.scale import parallel


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
  """Returns images 4x4 whose brightness tells their class."""
  generator = np.random.default_rng(seed)
  labels = generator.integers(0, 3, size).astype(np.int32)
  noise = generator.integers(0, 60, (size, 4, 4, 1))
  images = (noise + 60 * labels[:, None, None, None]).astype(np.uint8)
  about = {"name": "lights", "input": "image", "target": "label"}
  return data.from_arrays({"image": images, "label": labels}, about)


RATE = optim.schedule("warmup_cosine", learning_rate=0.02, steps=40)


def fit(
  workdir=None,
  *,
  net=None,
  steps=40,
  train=None,
  valid=None,
  wrap=lambda task: task,
  **settings,
):
  """Trains on the problem with everything switched on."""
  settings = {
    "batch_size": 16,
    "augment": augment.compose({"shift": 1, "flip": True}),
    "penalty": optim.penalty(l2=1e-3),
    "ema": 0.9,
    "learning_rate": RATE,
    "log_every": 3,
    "eval_every": 10,
    "checkpoint_every": 10,
    "devices": jax.local_devices()[:1],
    "progress": False,
    **settings,
  }
  return training.fit(
    wrap(tasks.classification(net or Net(), label_smoothing=0.1)),
    optim.create("adamw", learning_rate=RATE, clip_norm=1.0),
    train or source(50),
    valid or source(30, seed=1),
    steps=steps,
    workdir=workdir,
    **settings,
  )


@contextlib.contextmanager
def optimized():
  """Compiles as outside of the tests, where programs that differ must agree.

  Little is optimised elsewhere, which could hide that sums change their order.
  """
  options = {**(parallel._for_cpu() or {}), "xla_backend_optimization_level": 3}
  with mock.patch.object(parallel, "_for_cpu", return_value=options):
    yield


def leaves(state) -> dict[str, np.ndarray]:
  """Returns the leaves of a state by path, on the host."""
  return {path: np.asarray(leaf) for path, leaf in trees.flatten(state).items()}

"""A run without a model: a few arrays that change in every step."""

import jax
import numpy as np

from dlcore import storage, trees

EVERY = 10


def first(seed=0):
  """Returns the checkpoint before the first step, with an empty subtree."""
  return {
    "state": {
      "step": np.int32(0),
      "params": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4) / 7},
      "model_state": {},
      "opt_state": ({"count": np.int32(0)}, np.float32(0.5)),
      "key": np.array([0, seed], np.uint32),
      "halted": np.bool_(False),
    },
    "decisions": {"best_step": np.int32(-1)},
  }


def advance(tree):
  """Returns the checkpoint after one step more."""
  state = tree["state"]
  step = state["step"] + np.int32(1)
  kernel = state["params"]["kernel"] * np.float32(1.01) + np.float32(step)
  count = {"count": state["opt_state"][0]["count"] + np.int32(1)}
  return {
    "state": {
      **state,
      "step": step,
      "params": {"kernel": kernel},
      "opt_state": (count, state["opt_state"][1]),
    },
    "decisions": {"best_step": step - step % np.int32(EVERY)},
  }


def after(steps, seed=0):
  """Returns the checkpoint after `steps` steps."""
  tree = first(seed)
  for _ in range(steps):
    tree = advance(tree)
  return tree


def train(folder, steps=40, seed=0, template=None, **settings):
  """Saves every `EVERY` steps, and continues from the newest checkpoint."""
  template = first(seed) if template is None else template
  with storage.Checkpoints(folder / "checkpoints", **settings) as checkpoints:
    tree = checkpoints.restore(template) or first(seed)
    while tree["state"]["step"] < steps:
      tree = advance(tree)
      if tree["state"]["step"] % EVERY == 0:
        checkpoints.save(int(tree["state"]["step"]), tree)
  return tree


def shapes(tree):
  """Returns the shapes and dtypes of a checkpoint without its values."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree
  )


def assert_equal(left, right):
  """Compares every leaf bit for bit."""
  left, right = trees.flatten(left), trees.flatten(right)
  assert left.keys() == right.keys()
  for path, leaf in left.items():
    assert leaf.dtype == right[path].dtype, path
    assert leaf.tobytes() == right[path].tobytes(), path


def steps(folder):
  """Returns the names in a folder of checkpoints, in order."""
  return sorted(path.name for path in folder.iterdir())

"""Small image models, one of each class."""

import jax
import numpy as np

from dlcore import trees

IMAGES = {
  "convnext_tiny": {
    "depths": (1, 1),
    "widths": (6, 8),
    "patch_size": 2,
    "kernel_size": 3,  # The golden files have kernels of 7x7.
  },
  "efficientnet_lite0": {
    "stages": ((1, 3, 1, 1, 8), (2, 3, 2, 2, 8)),
    "stem": 4,
    "features": 12,
  },
  "mixer": {
    "patch_size": 4,
    "depth": 2,
    "width": 8,
    "tokens_mlp_dim": 4,
    "channels_mlp_dim": 8,
  },
  "vgg11": {"stages": ((4,), (8,)), "dense": (16,), "grid": 2},
  "wide_resnet28_10": {"depth": 10, "widen": 1},
}


def initialized(model, x, generator):
  """Returns variables of an image model that NumPy samples.

  Compiling initializers takes seconds. The biases and means are 0.
  """

  def sample(path, leaf):
    if path.endswith("kernel"):
      scale = (2 / np.prod(leaf.shape[:-1])) ** 0.5
      return scale * generator.normal(size=leaf.shape).astype(np.float32)
    ones = path.endswith(("scale", "var"))
    return np.full(leaf.shape, float(ones), np.float32)

  key = jax.random.key(0)
  shapes = jax.eval_shape(lambda: model.init(key, x, train=False))
  return trees.map_with_path(sample, shapes)

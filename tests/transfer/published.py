"""A family for tests: small residual networks, with torchvision's names."""

import functools

import jax
import numpy as np

from dlcore import models, trees
from dlcore.models import ResNet
from dlcore.transfer import FAMILIES, Family

FAMILY = Family(
  rules=FAMILIES["torchvision/resnet"].rules,
  build=lambda config: models.create(
    "resnet18",
    num_classes=config["num_labels"],
    stages=tuple(config["depths"]),
    width=config["width"],
  ),
  describe=lambda model: {
    "model_type": "test",
    "num_labels": model.num_classes,
    "depths": model.stages,
    "width": model.width,
  },
  ignored=r"num_batches_tracked$",
  prefix="resnet.",
  model=ResNet,
  describe_inputs=FAMILIES["resnet"].describe_inputs,
)


@functools.cache
def resnet(num_classes=5, width=4, channels=3, **settings):
  """Returns a small network and variables initialized by NumPy.

  They are cached, so tests must not modify them.
  """
  model = models.create(
    "resnet18", num_classes=num_classes, stages=(1, 1), width=width, **settings
  )
  image = np.zeros((1, 32, 32, channels), np.float32)
  shapes = jax.eval_shape(
    lambda key: model.init(key, image, train=False), jax.random.key(0)
  )
  generator = np.random.default_rng(0)

  def initialize(path, leaf):
    array = generator.normal(size=leaf.shape).astype(leaf.dtype)
    return np.abs(array) if path.endswith("var") else array

  return model, trees.map_with_path(initialize, shapes)

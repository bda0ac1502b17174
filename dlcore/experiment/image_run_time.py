"""An estimate of the time of a run over images, from their number and sizes.

The constants are those of two cores of AMD EPYC (AVX-512) of family 25, where
runs took 80% to 99% of their budget; those of family 26 took half of it.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax

from dlcore import models
from dlcore.data.images.image_summary import ImageSummary

START_SECONDS = 25.0
"""Start, compilation and the report."""

FLOPS_PER_SECOND = 200e9
"""Of convolutions and their gradients."""

VALUE_SECONDS = 0.35e-9
"""For each output of a convolution: pooling, batch norm, activation."""

PIXEL_SECONDS = 150e-9
"""The augmentation of a pixel."""

STEP_SECONDS = 3e-3
"""Of a step, whatever its images."""

FILE_SECONDS, STORED_PIXEL_SECONDS = 0.45e-3, 5e-9
"""To list, open and hash a file, and to decode a pixel of it."""


def read_seconds(images: ImageSummary) -> float:
  """Returns the time to read a file of average size."""
  pixels = images.stored_pixels / max(images.num_files, 1)
  return FILE_SECONDS + STORED_PIXEL_SECONDS * pixels


def count_epochs(
  images: ImageSummary,
  shape: Sequence[int],
  *,
  forward: float,
  batch_size: int,
  seconds: float,
  evaluations: int,
  frozen: bool = False,
  streamed: bool = False,
) -> float:
  """Returns the number of epochs for which a time suffices, possibly below 0.

  Args:
    images: numbers and sizes of the images.
    shape: `(Y, X, C)` of the images after the conversion.
    forward: seconds of a forward pass of one image.
    batch_size: images of a step.
    seconds: of the steps and evaluations.
    evaluations: how often the validation split is evaluated.
    frozen: whether only the output layer is trained.
    streamed: whether the files are decoded again whenever they are used.
  """
  reading = read_seconds(images) if streamed else 0.0
  passes = 1 if frozen else 3
  augmentation = PIXEL_SECONDS * math.prod(shape[:2])
  image = passes * forward + augmentation + reading
  step = STEP_SECONDS + batch_size * image
  test_size = images.num_files - images.size - images.valid_size
  evaluated = (evaluations + 1) * images.valid_size + test_size
  remaining = seconds - evaluated * (forward + reading)
  return remaining * batch_size / (step * images.size)


def cnn_seconds(
  stages: Sequence[Sequence[int]], kernel_size: int, shape: Sequence[int]
) -> float:
  """Returns the time of a forward pass of `models.CNN` for one image.

  Args:
    stages: see `models.CNN`, as for `kernel_size`.
    kernel_size: likewise.
    shape: `(Y, X, C)` of the image.
  """
  flops, values = count_operations(stages, kernel_size, shape)
  return flops / FLOPS_PER_SECOND + values * VALUE_SECONDS


def count_operations(
  stages: Sequence[Sequence[int]], kernel_size: int, shape: Sequence[int]
) -> tuple[int, int]:
  """Returns the FLOPs and the outputs of the convolutions of `cnn_seconds`."""
  height, width, channels = shape
  flops = values = 0
  for stage in stages:
    for features in stage:
      outputs = height * width * features
      flops += 2 * outputs * kernel_size**2 * channels
      values += outputs
      channels = features
    height, width = height // 2, width // 2
  return flops, values


@functools.cache
def model_seconds(
  settings: tuple[tuple[str, Any], ...],
  num_classes: int,
  shape: tuple[int, ...],
) -> float:
  """Returns the time of a forward pass of another model for one image.

  Args:
    settings: pairs of name and value for `models.create`.
    num_classes: number of classes, or of outputs.
    shape: `(Y, X, C)` of the image.
  """
  model = models.create(**dict(settings), num_classes=num_classes)
  image = jax.ShapeDtypeStruct((1, *shape), "float32")
  return models.flops(model, image) / FLOPS_PER_SECOND

"""Mean and standard deviation of the training split."""

import dataclasses
import math
from typing import Any

import numpy as np

from dlcore.data.info import Schema
from dlcore.data.source import Arrays, ReadRows

PIECE_VALUES = 1 << 24
"""Values of images that are read or counted at a time: counting them takes
eight times their memory."""


def with_statistics(schema: Schema, train: Arrays) -> Schema:
  """Returns `schema` with the statistics of the training examples.

  Args:
    schema: of the source.
    train: arrays `[N, ...]`. `image` and `features` give `normalization`,
      `target` gives `target_normalization`, per column if it is `[N, K]`.
  """
  return dataclasses.replace(schema, **statistics(train))


def with_sampled_statistics(
  schema: Schema, read: ReadRows, size: int
) -> tuple[Schema, dict[str, np.ndarray]]:
  """Returns `schema` with the statistics of at most 2,000 examples.

  Args:
    schema: of the source.
    read: see `Source.read`.
    size: number of examples of train.

  Returns:
    The schema, and the first example as a batch. Large images are read a few
    at a time.
  """
  rows = sample(size)
  first = read(rows[:1])
  image = first.get("image")
  if image is None or image.dtype != np.uint8:
    return with_statistics(schema, read(rows)), first
  counts = np.zeros((image.shape[-1], 256), np.int64)
  others = []
  step = max(1, PIECE_VALUES // image.size)
  for start in range(0, len(rows), step):
    batch = read(rows[start : start + step])
    counts += _counts(batch.pop("image"))
    others.append(batch)
  rest = {k: np.concatenate([b[k] for b in others]) for k in others[0]}
  moments = {"normalization": _lists(*_moments(counts)), **statistics(rest)}
  return dataclasses.replace(schema, **moments), first


def statistics(train: Arrays) -> dict[str, Any]:
  """Returns `normalization` and `target_normalization` of some examples."""
  moments = {}
  if "image" in train:
    moments["normalization"] = _lists(*_channels(train["image"]))
  if "features" in train:
    features = train["features"]
    width = features.shape[-1] if features.ndim > 1 else 1
    moments["normalization"] = _lists(*_columns(features.reshape(-1, width)))
  if "target" in train:
    target = train["target"]
    columns = target.shape[-1:] if target.shape[1:] not in ((), (1,)) else ()
    moments["target_normalization"] = _lists(
      *_columns(target.reshape(-1, *columns))
    )
  return moments


def sample(size: int, limit: int = 2000) -> np.ndarray:
  """Returns at most `limit` evenly spaced rows, int32, always the same."""
  return np.unique(np.linspace(0, size - 1, min(size, limit)).astype(np.int32))


def _channels(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and std of uint8 `[N, Y, X, C]`, each `[C]` on the scale 0..1.

  They come from exact counts of the 256 values, a few images at a time: a
  float copy of all images would take eight times their memory.
  """
  if images.dtype != np.uint8:
    return _columns(images.reshape(-1, images.shape[-1]))
  return _moments(_counts(images))


def _counts(images: np.ndarray) -> np.ndarray:
  """Returns how often each value occurs in uint8 images, int64 `[C, 256]`."""
  channels = images.shape[-1]
  counts = np.zeros((channels, 256), np.int64)
  pixels = images.reshape(-1, channels)
  for start in range(0, len(pixels), PIECE_VALUES):
    for channel in range(channels):
      values = pixels[start : start + PIECE_VALUES, channel]
      counts[channel] += np.bincount(values, minlength=256)
  return counts


def _moments(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and std, each `[C]`, from counts `[C, 256]`.

  The sums are those of integers of any size: rounded ones depend on the CPU.
  """
  values = np.arange(256)
  sums = [counts.sum(axis=1), counts @ values, counts @ values**2]
  moments = []
  for total, first, second in zip(*(s.tolist() for s in sums), strict=True):
    scale = 255 * total
    variance = (total * second - first**2) / scale**2
    moments.append((first / scale, max(math.sqrt(variance), 1 / 255)))
  mean, std = np.array(moments).T
  return mean, std


def _lists(mean: np.ndarray, std: np.ndarray) -> dict[str, Any]:
  return {"mean": mean.tolist(), "std": std.tolist()}


def _columns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and std over the rows; a constant column gets the std 1."""
  mean = values.mean(axis=0, dtype=np.float64)
  std = values.std(axis=0, dtype=np.float64)
  return mean, np.where(std <= 1e-6 * np.abs(mean), 1.0, std)

"""Mean and standard deviation of the training split."""

import dataclasses
from typing import Any

import numpy as np

from dlcore.data.info import Schema
from dlcore.data.source import Arrays


def with_statistics(schema: Schema, train: Arrays) -> Schema:
  """Returns `schema` with the statistics of the training examples.

  Args:
    schema: of the source.
    train: arrays `[N, ...]`. `image` and `features` give `normalization`,
      `target` gives `target_normalization`.
  """
  return dataclasses.replace(schema, **statistics(train))


def statistics(train: Arrays) -> dict[str, Any]:
  """Returns `normalization` and `target_normalization` of some examples."""
  moments = {}
  if "image" in train:
    mean, std = _channels(train["image"])
    moments["normalization"] = {"mean": mean.tolist(), "std": std.tolist()}
  if "features" in train:
    features = train["features"]
    width = features.shape[-1] if features.ndim > 1 else 1
    mean, std = _columns(features.reshape(-1, width))
    moments["normalization"] = {"mean": mean.tolist(), "std": std.tolist()}
  if "target" in train:
    mean, std = _columns(train["target"].reshape(-1))
    moments["target_normalization"] = {"mean": float(mean), "std": float(std)}
  return moments


def sample(size: int, limit: int = 2000) -> np.ndarray:
  """Returns at most `limit` evenly spaced rows, int32, always the same."""
  return np.unique(np.linspace(0, size - 1, min(size, limit)).astype(np.int32))


def _channels(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and std of uint8 `[N, Y, X, C]`, each `[C]` on the scale 0..1.

  They come from exact counts of the 256 values, a few images at a time: a
  float copy of all images would take eight times their memory.
  """
  channels = images.shape[-1]
  if images.dtype != np.uint8:
    return _columns(images.reshape(-1, channels))
  counts = np.zeros((channels, 256), np.int64)
  for start in range(0, len(images), 1000):
    piece = images[start : start + 1000]
    for channel in range(channels):
      values = piece[..., channel].reshape(-1)
      counts[channel] += np.bincount(values, minlength=256)
  scale = np.arange(256) / 255.0
  total = counts.sum(axis=1)
  mean = counts @ scale / total
  variance = counts @ scale**2 / total - mean**2
  return mean, np.maximum(np.sqrt(np.maximum(variance, 0.0)), 1.0 / 255.0)


def _columns(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and std over the rows; a constant column gets the std 1."""
  mean = values.mean(axis=0, dtype=np.float64)
  std = values.std(axis=0, dtype=np.float64)
  return mean, np.where(std <= 1e-6 * np.abs(mean), 1.0, std)

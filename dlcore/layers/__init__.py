"""Layers that Flax lacks or does slowly: pure functions and thin modules."""

from dlcore.layers.activation import ACTIVATIONS
from dlcore.layers.convolution import Conv, convolution
from dlcore.layers.dropout import (
  DropBlock,
  Dropout,
  StochasticDepth,
  drop_block,
  dropout,
  grown_rate,
  stochastic_depth,
)
from dlcore.layers.initializer import INITIALIZERS
from dlcore.layers.interception import RECORDED, frozen, recorded
from dlcore.layers.pooling import adaptive_avg_pool, avg_pool, max_pool
from dlcore.layers.remat import remat

__all__ = [
  "ACTIVATIONS",
  "INITIALIZERS",
  "RECORDED",
  "Conv",
  "DropBlock",
  "Dropout",
  "StochasticDepth",
  "adaptive_avg_pool",
  "avg_pool",
  "convolution",
  "drop_block",
  "dropout",
  "frozen",
  "grown_rate",
  "max_pool",
  "recorded",
  "remat",
  "stochastic_depth",
]

"""Layers that Flax lacks or does slowly: pure functions and thin modules."""

from dlcore.layers.activation import ACTIVATIONS
from dlcore.layers.convolution import Conv, convolution
from dlcore.layers.dropout import Dropout, dropout
from dlcore.layers.initializer import INITIALIZERS
from dlcore.layers.pooling import avg_pool, max_pool

__all__ = [
  "ACTIVATIONS",
  "INITIALIZERS",
  "Conv",
  "Dropout",
  "avg_pool",
  "convolution",
  "dropout",
  "max_pool",
]

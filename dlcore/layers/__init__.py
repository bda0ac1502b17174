"""Layers that Flax lacks or does slowly: pure functions and thin modules."""

from dlcore.layers.activation import ACTIVATIONS
from dlcore.layers.convolution import Conv, convolution
from dlcore.layers.dropout import (
  DropBlock,
  Dropout,
  StochasticDepth,
  drop_block,
  dropout,
  stochastic_depth,
)
from dlcore.layers.initializer import INITIALIZERS
from dlcore.layers.interception import RECORDED, frozen, recorded
from dlcore.layers.pooling import avg_pool, max_pool
from dlcore.layers.recurrent import GRU, LSTM, RNN, Recurrent
from dlcore.layers.recurrent_attention import AttentiveRecurrent, attended
from dlcore.layers.recurrent_cell import CELLS, step
from dlcore.layers.recurrent_scan import recur, scan_cell
from dlcore.layers.remat import remat

__all__ = [
  "ACTIVATIONS",
  "CELLS",
  "GRU",
  "INITIALIZERS",
  "LSTM",
  "RECORDED",
  "RNN",
  "AttentiveRecurrent",
  "Conv",
  "DropBlock",
  "Dropout",
  "Recurrent",
  "StochasticDepth",
  "attended",
  "avg_pool",
  "convolution",
  "drop_block",
  "dropout",
  "frozen",
  "max_pool",
  "recorded",
  "recur",
  "remat",
  "scan_cell",
  "step",
  "stochastic_depth",
]

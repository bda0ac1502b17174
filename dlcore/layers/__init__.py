"""Layers that Flax lacks or does slowly: pure functions and thin modules."""

from dlcore.layers.activation import ACTIVATIONS
from dlcore.layers.attention import (
  Attention,
  attention,
  attention_weights,
  weigh,
)
from dlcore.layers.cache import Tokens, tokens
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
from dlcore.layers.embedding import Embed
from dlcore.layers.feedforward import FeedForward, GatedFeedForward
from dlcore.layers.initializer import INITIALIZERS
from dlcore.layers.interception import RECORDED, frozen, recorded
from dlcore.layers.mask import causal_mask, kept_tokens, padding_mask
from dlcore.layers.norm import LayerNorm
from dlcore.layers.patches import Patches, patches
from dlcore.layers.pooling import adaptive_avg_pool, avg_pool, max_pool
from dlcore.layers.position import (
  relative_position_bucket,
  resize_table,
  rotary,
  rotary_frequencies,
  sinusoidal,
)
from dlcore.layers.recurrent import GRU, LSTM, RNN, Recurrent
from dlcore.layers.recurrent_attention import AttentiveRecurrent, attended
from dlcore.layers.recurrent_cell import CELLS, step
from dlcore.layers.recurrent_scan import recur, scan_cell
from dlcore.layers.remat import remat
from dlcore.layers.stack import Stacked, stack, stack_blocks, unstack_blocks

__all__ = [
  "ACTIVATIONS",
  "CELLS",
  "GRU",
  "INITIALIZERS",
  "LSTM",
  "RECORDED",
  "RNN",
  "Attention",
  "AttentiveRecurrent",
  "Conv",
  "DropBlock",
  "Dropout",
  "Embed",
  "FeedForward",
  "GatedFeedForward",
  "LayerNorm",
  "Patches",
  "Recurrent",
  "Stacked",
  "StochasticDepth",
  "Tokens",
  "adaptive_avg_pool",
  "attended",
  "attention",
  "attention_weights",
  "avg_pool",
  "causal_mask",
  "convolution",
  "drop_block",
  "dropout",
  "frozen",
  "grown_rate",
  "kept_tokens",
  "max_pool",
  "padding_mask",
  "patches",
  "recorded",
  "recur",
  "relative_position_bucket",
  "remat",
  "resize_table",
  "rotary",
  "rotary_frequencies",
  "scan_cell",
  "sinusoidal",
  "stack",
  "stack_blocks",
  "step",
  "stochastic_depth",
  "tokens",
  "unstack_blocks",
  "weigh",
]

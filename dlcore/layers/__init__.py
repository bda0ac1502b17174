"""Layers that Flax lacks or runs slowly: pure functions and thin modules."""

from dlcore.layers.activation import ACTIVATIONS
from dlcore.layers.adapters import (
  ADAPTERS,
  adapted,
  column_norms,
  dense_layers,
  dequantized,
  merged_kernel,
  quantized,
)
from dlcore.layers.attention import Attention
from dlcore.layers.attention_cache import MaskAndPositions, mask_and_positions
from dlcore.layers.convolution import Conv, convolution
from dlcore.layers.dot_product_attention import (
  attention,
  attention_weights,
  weighted_sum,
)
from dlcore.layers.dropout import (
  DropBlock,
  Dropout,
  StochasticDepth,
  drop_block,
  dropout,
  stochastic_depth,
  stochastic_depth_rate,
  stochastic_depth_rates,
)
from dlcore.layers.embedding import Embed
from dlcore.layers.feedforward import FeedForward, GatedFeedForward
from dlcore.layers.head_input import (
  HEAD,
  HeadInput,
  recorded_head_input,
  replaced_input,
)
from dlcore.layers.initializer import INITIALIZERS
from dlcore.layers.interception import RECORDED, frozen, recorded
from dlcore.layers.mask import (
  bool_mask,
  causal_mask,
  padding_mask,
  segment_begins,
  segment_mask,
  segment_positions,
)
from dlcore.layers.ngrams import add_boundaries, hash_ngrams, weighted_rows
from dlcore.layers.norm import BatchNorm, LayerNorm
from dlcore.layers.patch_embedding import PatchEmbed, extract_patches
from dlcore.layers.pooling import adaptive_avg_pool, avg_pool, max_pool
from dlcore.layers.position import (
  relative_position_bucket,
  resize_table,
  rotary,
  rotary_frequencies,
  sinusoidal,
)
from dlcore.layers.recurrent_attention import AttentiveRecurrent, attend
from dlcore.layers.recurrent_cell import CELLS, step
from dlcore.layers.recurrent_layers import GRU, LSTM, RNN, Recurrent
from dlcore.layers.recurrent_scan import recur, scan_cell
from dlcore.layers.remat import remat
from dlcore.layers.stack import Stacked, stack, stack_blocks, unstack_blocks
from dlcore.layers.token_pooling import POOLINGS, pool_tokens

__all__ = [
  "ACTIVATIONS",
  "ADAPTERS",
  "CELLS",
  "GRU",
  "HEAD",
  "INITIALIZERS",
  "LSTM",
  "POOLINGS",
  "RECORDED",
  "RNN",
  "Attention",
  "AttentiveRecurrent",
  "BatchNorm",
  "Conv",
  "DropBlock",
  "Dropout",
  "Embed",
  "FeedForward",
  "GatedFeedForward",
  "HeadInput",
  "LayerNorm",
  "MaskAndPositions",
  "PatchEmbed",
  "Recurrent",
  "Stacked",
  "StochasticDepth",
  "adapted",
  "adaptive_avg_pool",
  "add_boundaries",
  "attend",
  "attention",
  "attention_weights",
  "avg_pool",
  "bool_mask",
  "causal_mask",
  "column_norms",
  "convolution",
  "dense_layers",
  "dequantized",
  "drop_block",
  "dropout",
  "extract_patches",
  "frozen",
  "hash_ngrams",
  "mask_and_positions",
  "max_pool",
  "merged_kernel",
  "padding_mask",
  "pool_tokens",
  "quantized",
  "recorded",
  "recorded_head_input",
  "recur",
  "relative_position_bucket",
  "remat",
  "replaced_input",
  "resize_table",
  "rotary",
  "rotary_frequencies",
  "scan_cell",
  "segment_begins",
  "segment_mask",
  "segment_positions",
  "sinusoidal",
  "stack",
  "stack_blocks",
  "step",
  "stochastic_depth",
  "stochastic_depth_rate",
  "stochastic_depth_rates",
  "unstack_blocks",
  "weighted_rows",
  "weighted_sum",
]

"""Llama, and other decoders of this architecture: Qwen 2 and SmolLM.

Touvron et al. 2023, arXiv:2302.13971 and arXiv:2307.09288; Grattafiori et al.
2024, arXiv:2407.21783; Yang et al. 2024, arXiv:2407.10671. RMSNorm (Zhang &
Sennrich 2019, arXiv:1910.07467), rotary position embeddings (Su et al. 2021,
arXiv:2104.09864), gated feed-forward networks (Shazeer 2020, arXiv:2002.05202)
and grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers import (
  Attention,
  Embed,
  GatedFeedForward,
  mask_and_positions,
  rotary,
  rotary_frequencies,
)
from dlcore.models.decoder_head import HEADS, decoder_output
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import (
  check_no_token_types,
  check_packing,
  check_token_ids,
)
from dlcore.models.transformer_block import (
  TransformerBlock,
  block_intermediates,
  run_blocks,
)
from dlcore.typing import Array

normal = nn.initializers.normal(0.02)


class RopeScaling(NamedTuple):
  """Scaling of rotary position embeddings to longer sequences.

  Grattafiori et al. 2024, arXiv:2407.21783, as in the release of Llama 3.1;
  the arguments are those of Hugging Face's rope type "llama3".
  """

  factor: float
  """Factor by which long wavelengths are scaled."""

  low_freq_factor: float
  """Wavelengths with fewer periods in the original length are long."""

  high_freq_factor: float
  """Wavelengths with more periods are short and are not scaled. Those between
  both are interpolated."""

  original_max_length: float
  """Maximum sequence length before scaling."""


class Llama(nn.Module):
  """Maps token ids to logits by causal attention.

  Attributes:
    num_classes: number of classes; 1 in regression.
    head: "lm" predicts the next token; "classifier" classifies sequences by
      their last token; None returns the tokens.
    tie_embeddings: whether "lm" uses the word embedding as its output layer.
    vocab_size: number of token ids, V.
    width: D.
    depth: number of blocks.
    num_heads: number of query heads, H.
    num_kv_heads: number of key/value heads, a divisor of `num_heads`; 0 means
      `num_heads`.
    head_dim: K; 0 means `width / num_heads`.
    mlp_dim: width of the feed-forward networks, F.
    max_length: maximum sequence length.
    activation: a key of `ACTIVATIONS`, for the gates.
    qkv_bias: whether queries, keys and values have biases.
    out_bias: whether the output of attention has a bias.
    rope_theta: base of the wavelengths of rotary position embeddings.
    rope_scaling: the four numbers of `RopeScaling`, or `()` for none.
    eps: added to the mean square in the norms.
    dropout: dropout rate of the output of each sublayer.
    attention_dropout: dropout rate of the attention weights. Both rates may be
      traced scalars.
    remat: whether to rematerialize blocks in the backward pass.
    scan: whether to run the blocks by `nn.scan`, see `layers.stack`.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "lm"
  tie_embeddings: bool = False
  vocab_size: int = 32_000
  width: int = 4096
  depth: int = 32
  num_heads: int = 32
  num_kv_heads: int = 0
  head_dim: int = 0
  mlp_dim: int = 11_008
  max_length: int = 4096
  activation: str = "silu"
  qkv_bias: bool = False
  out_bias: bool = False
  rope_theta: float = 10_000.0
  rope_scaling: tuple[float, ...] = ()
  eps: float = 1e-5
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  remat: bool = False
  scan: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    input_ids: Array,
    *,
    attention_mask: Array | None = None,
    token_type_ids: None = None,
    segment_ids: Array | None = None,
    positions: Array | None = None,
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to float32 `[B, T, V]` or `[B, C]`.

    Arguments and result are those of `GPT2`, except that `token_type_ids` must
    be None.
    """
    self._check(input_ids, token_type_ids, segment_ids)
    check_packing(self, segment_ids, decode=decode)
    word_embedding = Embed(
      self.vocab_size,
      self.width,
      dtype=self.dtype,
      embedding_init=normal,
      name="word_embedding",
    )
    mask, positions = mask_and_positions(
      self,
      input_ids,
      attention_mask,
      segment_ids=segment_ids,
      positions=positions,
      decode=decode,
    )
    stacked = run_blocks(
      self,
      self._block,
      word_embedding(input_ids),
      mask=mask,
      causal=True,
      positions=positions,
      train=train,
      decode=decode,
      collect=intermediates,
    )
    x = self._norm()(name="norm")(stacked.x)
    embedding = word_embedding.embedding if self.tie_embeddings else None
    y = decoder_output(self, x, embedding, attention_mask)
    return (y, block_intermediates(stacked)) if intermediates else y

  def _norm(self) -> Callable[..., nn.Module]:
    return partial(nn.RMSNorm, self.eps, dtype=self.dtype)

  def _block(self, name: str) -> TransformerBlock:
    options = {"dtype": self.dtype, "kernel_init": normal}
    return TransformerBlock(
      attention=partial(
        Attention,
        self.num_heads,
        self.num_kv_heads or None,
        self.head_dim or None,
        use_bias=self.qkv_bias,
        out_bias=self.out_bias,
        dropout=self.attention_dropout,
        rotary=partial(rotary, frequencies=self._frequencies()),
        **options,
      ),
      feedforward=partial(
        GatedFeedForward, self.mlp_dim, self.activation, **options
      ),
      norm=self._norm(),
      dropout=self.dropout,
      name=name,
    )

  def _frequencies(self) -> np.ndarray:
    head_dim = self.head_dim or self.width // self.num_heads
    frequencies = rotary_frequencies(head_dim, self.rope_theta)
    if not self.rope_scaling:
      return frequencies
    return scale_frequencies(frequencies, RopeScaling(*self.rope_scaling))

  def _check(self, input_ids, token_type_ids, segment_ids) -> None:
    check_fields(self)
    sizes = ("vocab_size", "width", "depth", "num_heads", "mlp_dim")
    check_at_least(self, 1, *sizes, "max_length")
    check_at_least(self, 0, "num_kv_heads", "head_dim")
    if not self.head_dim and self.width % self.num_heads:
      raise UserError(
        "expected num_heads to divide the width",
        f"got num_heads={self.num_heads} and a width of {self.width}",
        "change either, or set head_dim",
      )
    if len(self.rope_scaling) not in (0, len(RopeScaling._fields)):
      raise UserError(
        f"expected rope_scaling to be {RopeScaling._fields} or ()",
        f"got {self.rope_scaling!r}",
      )
    check_head(self, *HEADS)
    check_token_ids(
      input_ids, max_length=self.max_length, segment_ids=segment_ids
    )
    check_no_token_types(token_type_ids)


def scale_frequencies(
  frequencies: np.ndarray, scaling: RopeScaling
) -> np.ndarray:
  """Scales the frequencies of rotary embeddings for longer sequences.

  Args:
    frequencies: float32 `[K / 2]`, radians per position.
    scaling: see `RopeScaling`.

  Returns:
    float32 `[K / 2]`.
  """
  factor, low, high, original_max_length = scaling
  periods = original_max_length * frequencies / (2 * np.pi)
  unscaled = np.clip((periods - low) / (high - low), 0, 1)
  scaled = (1 - unscaled) * frequencies / factor + unscaled * frequencies
  return scaled.astype(np.float32)

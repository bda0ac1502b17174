"""The encoder-decoder transformer of "Attention is all you need".

Vaswani et al. 2017, arXiv:1706.03762. Other settings give Marian
(Junczys-Dowmunt et al. 2018, arXiv:1804.00344), as in the published translation
models (Tiedemann & Thottingal 2020, "OPUS-MT").
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers import (
  Attention,
  Embed,
  FeedForward,
  LayerNorm,
  padding_mask,
  sinusoidal,
)
from dlcore.models.encoder_decoder import EncoderDecoder
from dlcore.models.field_checks import check_at_least, check_fields, check_head
from dlcore.models.input_checks import check_decoder_batch, check_token_ids
from dlcore.models.output_layers import embedding_logits
from dlcore.models.transformer_block import (
  TransformerBlock,
  block_intermediates,
)
from dlcore.models.transformer_stack import TransformerStack
from dlcore.typing import Array

MAX_LENGTH = 1 << 17
"""Limit of `max_length`, since the encodings of all positions are computed."""


class Transformer(EncoderDecoder):
  """Maps source and target ids to logits of the next target tokens.

  Attributes:
    num_classes: unused.
    head: "lm" predicts the next target token, with tied embeddings; None
      returns the tokens.
    vocab_size: number of source token ids.
    target_vocab_size: number of target token ids, V; 0 shares ids and
      embedding with the source.
    width: D.
    depth: number of encoder blocks.
    decoder_depth: number of decoder blocks; 0 means `depth`.
    num_heads: number of attention heads of the encoder.
    decoder_num_heads: number of those of the decoder; 0 means `num_heads`.
    mlp_dim: width of the feed-forward networks of the encoder.
    decoder_mlp_dim: width of those of the decoder; 0 means `mlp_dim`.
    max_length: maximum sequence length.
    activation: a key of `ACTIVATIONS`, for the feed-forward networks.
    pre_norm: whether norms precede the sublayers, with one more at the end
      (Xiong et al. 2020, arXiv:2002.04745), or follow the additions.
    scale_embeddings: whether to multiply word embeddings by sqrt(D).
    sines_first: whether the sines of a position encoding precede the cosines,
      see `layers.sinusoidal`.
    logits_bias: whether the logits have a learned bias.
    eps: added to the variance in the norms.
    dropout: dropout rate of the embeddings and of the output of each sublayer.
    attention_dropout: dropout rate of the attention weights.
    activation_dropout: dropout rate within the feed-forward networks. All rates
      may be traced scalars.
    remat: whether to rematerialize blocks in the backward pass.
    scan: whether to run the blocks by `nn.scan`, see `layers.stack`.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "lm"
  vocab_size: int = 37_000
  target_vocab_size: int = 0
  width: int = 512
  depth: int = 6
  decoder_depth: int = 0
  num_heads: int = 8
  decoder_num_heads: int = 0
  mlp_dim: int = 2048
  decoder_mlp_dim: int = 0
  max_length: int = 1024
  activation: str = "relu"
  pre_norm: bool = False
  scale_embeddings: bool = True
  sines_first: bool = False
  logits_bias: bool = False
  eps: float = 1e-5
  dropout: float | Array = 0.0
  attention_dropout: float | Array = 0.0
  activation_dropout: float | Array = 0.0
  remat: bool = False
  scan: bool = False
  dtype: Any = jnp.float32

  def setup(self):
    """Makes word embeddings, encoder and decoder."""
    self._check()
    self.word_embedding = self._embedding(self.vocab_size)
    if self.target_vocab_size:
      self.target_embedding = self._embedding(self.target_vocab_size)
    self.encoder = self._stack(self.depth, self.num_heads, self.mlp_dim)
    self.decoder = self._stack(
      self.decoder_depth or self.depth,
      self.decoder_num_heads or self.num_heads,
      self.decoder_mlp_dim or self.mlp_dim,
    )
    if self.logits_bias and self.head == "lm":
      count = self.target_vocab_size or self.vocab_size
      zeros = nn.initializers.zeros_init()
      self.bias = self.param("logits_bias", zeros, (count,))

  def _encode(self, input_ids, attention_mask, train, intermediates):
    check_token_ids(input_ids, max_length=self.max_length)
    stacked = self.encoder(
      self._scale(self.word_embedding(input_ids)),
      attention_mask=attention_mask,
      train=train,
      collect=intermediates,
    )
    if not intermediates:
      return stacked.x, {}
    return stacked.x, block_intermediates(stacked, "encoder_")

  def _decode(self, ids, encoded, attention_mask, train, decode, intermediates):
    check_token_ids(ids, max_length=self.max_length)
    check_decoder_batch(ids, encoded)
    embedding = self._target_embedding()
    stacked = self.decoder(
      self._scale(embedding(ids)),
      encoded,
      context_mask=padding_mask(attention_mask, encoded.shape[:2]),
      causal=True,
      train=train,
      decode=decode,
      collect=intermediates,
    )
    y = stacked.x
    if self.head is not None:
      y = embedding_logits(y, embedding.embedding)
      y = y + self.bias if self.logits_bias else y
    if not intermediates:
      return y, {}
    return y, block_intermediates(stacked, "decoder_")

  def _scale(self, x: Array) -> Array:
    return x * self.width**0.5 if self.scale_embeddings else x

  def _embedding(self, count: int) -> nn.Embed:
    stddev = self.width**-0.5 if self.scale_embeddings else 0.02
    init = nn.initializers.normal(stddev)
    return Embed(count, self.width, dtype=self.dtype, embedding_init=init)

  def _stack(self, depth: int, num_heads: int, mlp_dim: int):
    options = {
      "dtype": self.dtype,
      "kernel_init": nn.initializers.glorot_uniform(),
    }
    norm = partial(LayerNorm, self.eps, dtype=self.dtype)
    block = partial(
      TransformerBlock,
      attention=partial(
        Attention, num_heads, dropout=self.attention_dropout, **options
      ),
      feedforward=partial(
        FeedForward,
        mlp_dim,
        self.activation,
        dropout=self.activation_dropout,
        **options,
      ),
      norm=norm,
      pre_norm=self.pre_norm,
      dropout=self.dropout,
    )
    return TransformerStack(
      block,
      depth,
      norm=norm if self.pre_norm else None,
      position_table=partial(
        sinusoidal, self.max_length, self.width, sines_first=self.sines_first
      ),
      dropout=self.dropout,
      remat=self.remat,
      scan=self.scan,
    )

  def _check(self) -> None:
    check_fields(self)
    sizes = ("vocab_size", "width", "depth", "num_heads", "mlp_dim")
    check_at_least(self, 1, *sizes, "max_length")
    decoder = ("decoder_depth", "decoder_num_heads", "decoder_mlp_dim")
    check_at_least(self, 0, "target_vocab_size", *decoder)
    if self.max_length > MAX_LENGTH:
      raise UserError(
        f"expected max_length <= {MAX_LENGTH:,}, the limit of position "
        "encodings",
        f"got {self.max_length:,}",
      )
    check_head(self, "lm")

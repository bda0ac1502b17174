"""GPT-2: each token is predicted from those before it.

Radford et al. 2019, "Language models are unsupervised multitask learners".
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.layers import (
  Attention,
  Dropout,
  Embed,
  FeedForward,
  LayerNorm,
  mask_and_positions,
  stack,
)
from dlcore.models import checks
from dlcore.models.blocks import HEADS, Block, output, seen
from dlcore.typing import Array

normal = nn.initializers.normal


class GPT2(nn.Module):
  """Maps token ids to logits by attention to earlier tokens.

  Attributes:
    num_classes: width of the output of a classifier (1 in regression).
    head: "lm" predicts the token after each, by the table of the words;
      "classifier" judges the text by its last token; None leaves the tokens.
    vocab_size: number of token ids, V.
    width: D of the tokens.
    depth: number of blocks.
    num_heads: of each attention.
    mlp_dim: width within the feed-forward layers; 4 times `width` by default.
    max_length: the greatest number of tokens.
    activation: a name of `ACTIVATIONS`, of the feed-forward layers.
    eps: of the norms.
    dropout: rate of tokens and of what leaves each branch of a block.
    attention_dropout: rate of the weights of attention. Both may be traced
      scalars.
    remat: whether the backward pass computes blocks again, to save memory.
    scan: whether the blocks are one that is scanned, see `layers.stack`.
    dtype: of the arithmetic; parameters and logits are float32.
  """

  num_classes: int | None = None
  head: str | None = "lm"
  vocab_size: int = 50_257
  width: int = 768
  depth: int = 12
  num_heads: int = 12
  mlp_dim: int = 0
  max_length: int = 1024
  activation: str = "gelu"
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
    token_type_ids: Array | None = None,
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to float32 `[B, T, V]`, or `[B, C]`.

    Args:
      input_ids: int.
      attention_mask: `[B, T]`, 1 for kept tokens, all by default. Positions
        count these, so that padding on either side changes nothing.
      token_type_ids: int `[B, T]`, words that are added to those of the ids.
      train: whether to drop.
      decode: whether the ids go on from those in the collection "cache". The
        first such call makes the cache, for as many tokens as it is given.
      intermediates: whether to return what blocks pass on, too.

    Returns:
      The logits, or without a head the tokens `[B, T, D]`. With
      `intermediates` the pair of this and a dict of tuples, `hidden_states`
      `[B, T, D]` before the first and after each block, and `attentions`, of
      each block the weights `[B, H, T, S]`.

    Raises:
      UserError: a setting or the shape of the ids cannot be.
    """
    self._check(input_ids, token_type_ids)
    words = self._embedding(self.vocab_size, 0.02, "word_embedding")
    places = self._embedding(self.max_length, 0.01, "position_embedding")
    known = mask_and_positions(self, input_ids, attention_mask, decode=decode)
    x = words(input_ids) + places(known.positions)
    if token_type_ids is not None:
      x = x + words(token_type_ids)
    x = Dropout(self.dropout, name="dropout")(x, train=train)

    def run(block, x, _):
      how = {"train": train, "decode": decode, "weights": intermediates}
      return block(x, mask=known.mask, causal=True, **how)

    blocks = stack(
      run,
      self._block,
      self.depth,
      x,
      scan=self.scan,
      remat=self.remat,
      collect=intermediates,
    )
    x = LayerNorm(self.eps, dtype=self.dtype, name="norm")(blocks.x)
    y = output(self, x, words.embedding, attention_mask)
    return (y, seen(blocks)) if intermediates else y

  def _embedding(self, count: int, deviation: float, name: str) -> nn.Embed:
    init = normal(deviation)
    return Embed(
      count, self.width, dtype=self.dtype, embedding_init=init, name=name
    )

  def _block(self, name: str) -> Block:
    numerics = {
      "dtype": self.dtype,
      "kernel_init": normal(0.02),
      # 2 depth branches add up: the variance does not grow with the depth.
      "out_init": normal(0.02 / (2 * self.depth) ** 0.5),
    }
    return Block(
      attention=partial(
        Attention, self.num_heads, dropout=self.attention_dropout, **numerics
      ),
      feedforward=partial(
        FeedForward,
        self.mlp_dim or 4 * self.width,
        self.activation,
        **numerics,
      ),
      norm=partial(LayerNorm, self.eps, dtype=self.dtype),
      dropout=self.dropout,
      name=name,
    )

  def _check(self, input_ids, token_type_ids) -> None:
    checks.settings(self)
    checks.at_least(
      1,
      vocab_size=self.vocab_size,
      width=self.width,
      depth=self.depth,
      num_heads=self.num_heads,
      mlp_dim=self.mlp_dim or 1,
      max_length=self.max_length,
    )
    checks.head(self, *HEADS)
    checks.token_ids(
      input_ids, max_length=self.max_length, token_type_ids=token_type_ids
    )

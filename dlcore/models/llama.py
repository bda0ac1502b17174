"""The modern decoder, as published for Llama, Qwen 2 and SmolLM.

Touvron et al. 2023, arXiv:2302.13971 and arXiv:2307.09288; Grattafiori et al.
2024, arXiv:2407.21783; Yang et al. 2024, arXiv:2407.10671. Norms by the root
mean square (Zhang & Sennrich 2019, arXiv:1910.07467), rotary positions (Su et
al. 2021, arXiv:2104.09864), gated feed-forward layers (Shazeer 2020,
arXiv:2002.05202), keys and values shared by heads (Ainslie et al. 2023,
arXiv:2305.13245).
"""

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
  stack,
)
from dlcore.models import checks
from dlcore.models.blocks import HEADS, Block, output, seen
from dlcore.typing import Array

normal = nn.initializers.normal(0.02)


class RopeScaling(NamedTuple):
  """How rotary positions learned on short texts were stretched to long ones.

  Grattafiori et al. 2024, arXiv:2407.21783, as in the release of Llama 3.1.
  """

  factor: float
  """By which wavelengths grow, if they are long."""

  low: float
  """Turns within `length` below which a wavelength is long."""

  high: float
  """Turns from which on it is short, and stays. Between both it is mixed."""

  original_max_length: int
  """The number of tokens before the stretch."""


class Llama(nn.Module):
  """Maps token ids to logits by attention to earlier tokens.

  Attributes:
    num_classes: width of the output of a classifier (1 in regression).
    head: "lm" predicts the token after each; "classifier" judges the text by
      its last token; None leaves the tokens.
    tie_embeddings: whether the head "lm" is the table of the words.
    vocab_size: number of token ids, V.
    width: D of the tokens.
    depth: number of blocks.
    num_heads: of queries, H.
    num_kv_heads: of keys and values, a divisor of `heads`, which 0 is.
    head_dim: K; 0 is `width` over `heads`.
    mlp_dim: width within the feed-forward layers, F.
    max_length: the greatest number of tokens.
    activation: a name of `ACTIVATIONS`, of the gate.
    qkv_bias: whether queries, keys and values have biases.
    out_bias: whether the output of attention has one.
    rope_theta: the wavelengths of the rotary positions grow up to 2 pi theta.
    rope_scaling: the four numbers of `RopeScaling`, or none.
    eps: of the norms.
    dropout: rate of what leaves each branch of a block.
    attention_dropout: rate of the weights of attention. Both may be traced
      scalars.
    remat: whether the backward pass computes blocks again, to save memory.
    scan: whether the blocks are one that is scanned, see `layers.stack`.
    dtype: of the arithmetic; parameters and logits are float32.
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
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to float32 `[B, T, V]`, or `[B, C]`.

    Arguments and result are those of `GPT2`, but there are no token types.
    """
    self._check(input_ids, token_type_ids)
    words = Embed(
      self.vocab_size,
      self.width,
      dtype=self.dtype,
      embedding_init=normal,
      name="word_embedding",
    )
    known = mask_and_positions(self, input_ids, attention_mask, decode=decode)

    def run(block, x, _):
      how = {"train": train, "decode": decode, "weights": intermediates}
      where = {"mask": known.mask, "positions": known.positions}
      return block(x, causal=True, **where, **how)

    blocks = stack(
      run,
      self._block,
      self.depth,
      words(input_ids),
      scan=self.scan,
      remat=self.remat,
      collect=intermediates,
    )
    x = nn.RMSNorm(self.eps, dtype=self.dtype, name="norm")(blocks.x)
    table = words.embedding if self.tie_embeddings else None
    y = output(self, x, table, attention_mask)
    return (y, seen(blocks)) if intermediates else y

  def _block(self, name: str) -> Block:
    numerics = {"dtype": self.dtype, "kernel_init": normal}
    size = self.head_dim or self.width // self.num_heads
    frequencies = rotary_frequencies(size, self.rope_theta)
    if self.rope_scaling:
      frequencies = scale_frequencies(
        frequencies, RopeScaling(*self.rope_scaling)
      )
    return Block(
      attention=partial(
        Attention,
        self.num_heads,
        self.num_kv_heads or None,
        self.head_dim or None,
        use_bias=self.qkv_bias,
        out_bias=self.out_bias,
        dropout=self.attention_dropout,
        rotary=partial(rotary, frequencies=frequencies),
        **numerics,
      ),
      feedforward=partial(
        GatedFeedForward, self.mlp_dim, self.activation, **numerics
      ),
      norm=partial(nn.RMSNorm, self.eps, dtype=self.dtype),
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
      mlp_dim=self.mlp_dim,
      max_length=self.max_length,
    )
    groups = {
      "num_kv_heads": self.num_kv_heads,
      "head_dim": self.head_dim,
    }
    checks.at_least(0, **groups)
    if not self.head_dim and self.width % self.num_heads:
      raise UserError(
        "expected heads that divide the width",
        f"got {self.num_heads} heads and a width of {self.width}",
        "change either, or set head_dim",
      )
    if len(self.rope_scaling) not in (0, len(RopeScaling._fields)):
      raise UserError(
        f"expected rope_scaling to be {RopeScaling._fields} or ()",
        f"got {self.rope_scaling!r}",
      )
    checks.head(self, *HEADS)
    checks.token_ids(input_ids, max_length=self.max_length)
    checks.no_types(token_type_ids)


def scale_frequencies(
  frequencies: np.ndarray, scaling: RopeScaling
) -> np.ndarray:
  """Returns the frequencies of rotary positions for longer texts.

  Args:
    frequencies: float32 `[K / 2]`, radians a position.
    scaling: see `RopeScaling`.
  """
  turns = scaling.original_max_length * frequencies / (2 * np.pi)
  kept = np.clip((turns - scaling.low) / (scaling.high - scaling.low), 0, 1)
  mixed = (1 - kept) * frequencies / scaling.factor + kept * frequencies
  return mixed.astype(np.float32)

"""The transformer block of BERT, ViT, GPT-2, Llama and encoder-decoders.

Vaswani et al. 2017, arXiv:1706.03762; the models differ in the parts only.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from dlcore.layers import Dropout, Stacked, StochasticDepth, stack
from dlcore.typing import Array


class TransformerBlock(nn.Module):
  """Attention, optional cross-attention and a feed-forward network.

  Each of these sublayers has a norm, dropout, stochastic depth and a residual
  connection.

  Attributes:
    attention: makes self-attention and cross-attention; called with `name`.
    feedforward: makes the feed-forward network; called with `name`.
    norm: makes a norm; called with `name`.
    pre_norm: whether norms precede the sublayers, inside the residual branch
      (Xiong et al. 2020, arXiv:2002.04745), or follow the additions.
    dropout: dropout rate of the output of each sublayer, a number or a traced
      scalar.
  """

  attention: Callable[..., nn.Module]
  feedforward: Callable[..., nn.Module]
  norm: Callable[..., nn.Module]
  pre_norm: bool = True
  dropout: float | Array = 0.0

  @nn.compact
  def __call__(
    self,
    x: Array,
    context: Array | None = None,
    *,
    mask: Array | None = None,
    context_mask: Array | None = None,
    causal: bool = False,
    positions: Array | None = None,
    skip_rate: float | Array = 0.0,
    train: bool,
    decode: bool = False,
    return_weights: bool = False,
  ) -> tuple[Array, dict[str, Array]]:
    """Maps `[B, T, D]` to `[B, T, D]`.

    Args:
      x: tokens.
      context: input of keys and values of cross-attention, `[B, S, D']`; None
        for blocks without cross-attention.
      mask: mask of self-attention, see `layers.Attention`.
      context_mask: mask of cross-attention.
      causal: whether token t attends to tokens 0 to t only.
      positions: int `[T]` or `[B, T]`, positions for rotary embeddings.
      skip_rate: rate of stochastic depth, a number or a traced scalar.
      train: whether to apply dropout and stochastic depth.
      decode: whether `x` continues the cached tokens, see `layers.Attention`.
      return_weights: whether to return attention weights.

    Returns:
      The output, and a dict. With `return_weights` it contains the weights
      "attention" and "cross_attention", float32 `[B, H, T, S]`.
    """
    weights: dict[str, Array] = {}
    options = {
      "train": train,
      "decode": decode,
      "return_weights": return_weights,
    }

    def attend(name, *inputs, **masks):
      y = self.attention(name=name)(*inputs, **masks, **options)
      if return_weights:
        y, weights[name] = y
      return y

    def attention(x):
      return attend(
        "attention", x, mask=mask, causal=causal, positions=positions
      )

    def cross_attention(x):
      return attend("cross_attention", x, context, mask=context_mask)

    def feedforward(x):
      return self.feedforward(name="feedforward")(x, train=train)

    sublayers = {"attention": attention}
    if context is not None:
      sublayers["cross_attention"] = cross_attention
    sublayers["feedforward"] = feedforward
    for name, sublayer in sublayers.items():
      x = self._residual(name, sublayer, x, skip_rate, train)
    return x, weights

  def _residual(
    self,
    name: str,
    sublayer: Callable[[Array], Array],
    x: Array,
    skip_rate: float | Array,
    train: bool,
  ) -> Array:
    norm = self.norm(name=f"{name}_norm")
    y = sublayer(norm(x)) if self.pre_norm else sublayer(x)
    y = Dropout(self.dropout, name=f"{name}_dropout")(y, train=train)
    y = StochasticDepth(skip_rate, name=f"{name}_skip")(y, train=train)
    return x + y if self.pre_norm else norm(x + y)


def run_blocks(
  model: Any,
  make: Callable[..., TransformerBlock],
  x: Array,
  context: Array | None = None,
  *,
  skip_rates: Array | None = None,
  collect: bool = False,
  **options: Any,
) -> Stacked:
  """Runs the blocks of a model; called within its compact method.

  Args:
    model: has the fields `depth`, `scan` and `remat`.
    make: makes a block; called with `name`.
    x: `[B, T, D]`, the input of the first block.
    context: `[B, S, D']`, input of keys and values of cross-attention; None
      for blocks without cross-attention.
    skip_rates: `[depth]`, rates of stochastic depth; None for 0.
    collect: whether to return hidden states and attention weights.
    **options: other arguments of the blocks.

  Returns:
    The output `[B, T, D]`, hidden states and attention weights; see
    `layers.stack`.
  """

  def run(block, x, rate):
    skip = {} if rate is None else {"skip_rate": rate}
    return block(x, context, return_weights=collect, **skip, **options)

  return stack(
    run,
    make,
    model.depth,
    x,
    per_block=skip_rates,
    scan=model.scan,
    remat=model.remat,
    collect=collect,
  )


def block_intermediates(
  stacked: Stacked, prefix: str = ""
) -> dict[str, tuple[Array, ...]]:
  """Returns the hidden states and attention weights of a stack of blocks.

  Args:
    stacked: output of `layers.stack`, collected.
    prefix: prefix of the names, such as "decoder_".

  Returns:
    Tuples over the blocks: `{prefix}hidden_states`, `{prefix}attentions` and,
    if there is cross-attention, `cross_attentions`.
  """
  intermediates = {f"{prefix}hidden_states": stacked.states}
  for name in stacked.aux[0]:
    key = name if name.startswith("cross") else f"{prefix}{name}"
    intermediates[f"{key}s"] = tuple(weights[name] for weights in stacked.aux)
  return intermediates

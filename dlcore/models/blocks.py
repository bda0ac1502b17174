"""What decoders and encoder-decoders are composed of."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore.layers import Dropout, Stacked, mask_and_positions, stack
from dlcore.models.common import logits, scores
from dlcore.typing import Array

HEADS = ("classifier", "lm")


class Block(nn.Module):
  """Attention, attention to a context if there is one, and dense layers.

  Each is added to what it is computed from.

  Attributes:
    attention: makes the attention, called with `name`, also that to a context.
    feedforward: makes the dense layers.
    norm: makes a norm.
    pre_norm: whether a norm comes before its layer, not after the addition
      (Xiong et al. 2020, arXiv:2002.04745).
    dropout: rate before each addition, a number or a traced scalar.
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
    train: bool,
    decode: bool = False,
    weights: bool = False,
  ) -> tuple[Array, dict[str, Array]]:
    """Maps `[B, T, D]` to `[B, T, D]`.

    Arguments are those of `layers.Attention`, `context_mask` that of the
    context.

    Returns:
      The output, and with `weights` those of "attention" and of
      "cross_attention", each `[B, H, T, S]`.
    """
    notes: dict[str, Array] = {}
    how = {"train": train, "decode": decode, "weights": weights}

    def attend(name, *inputs, **masks):
      y = self.attention(name=name)(*inputs, **masks, **how)
      if weights:
        y, notes[name] = y
      return y

    def attention(x):
      masks = {"mask": mask, "causal": causal, "positions": positions}
      return attend("attention", x, **masks)

    def cross_attention(x):
      return attend("cross_attention", x, context, mask=context_mask)

    def feedforward(x):
      return self.feedforward(name="feedforward")(x, train=train)

    x = self._added("attention", attention, x, train)
    if context is not None:
      x = self._added("cross_attention", cross_attention, x, train)
    return self._added("feedforward", feedforward, x, train), notes

  def _added(self, name: str, layer: Callable, x: Array, train: bool) -> Array:
    norm = self.norm(name=f"{name}_norm")
    drop = Dropout(self.dropout, name=f"{name}_dropout")
    if self.pre_norm:
      return x + drop(layer(norm(x)), train=train)
    return norm(x + drop(layer(x), train=train))


class Side(nn.Module):
  """Encoder or decoder: adds positions, and runs the blocks.

  Attributes:
    block: makes a block, called with `name`.
    depth: number of blocks.
    norm: makes the norm after the last one, or None.
    positions: makes the table of positions, `[max_length, D]`.
    dropout: rate of tokens, a number or a traced scalar.
    remat: as of `layers.stack`.
    scan: as of `layers.stack`.
  """

  block: Callable[..., Block]
  depth: int
  norm: Callable[..., nn.Module] | None
  positions: Callable[[], np.ndarray]
  dropout: float | Array = 0.0
  remat: bool = False
  scan: bool = False

  @nn.compact
  def __call__(
    self,
    x: Array,
    context: Array | None = None,
    *,
    attention_mask: Array | None = None,
    context_mask: Array | None = None,
    causal: bool = False,
    train: bool,
    decode: bool = False,
    collect: bool = False,
  ) -> Stacked:
    """Maps `[B, T, D]` to the same; arguments as of `Block` and `stack`."""
    known = mask_and_positions(self, x, attention_mask, decode=decode)
    places = jnp.asarray(self.positions(), x.dtype)
    x = x + places[known.positions]
    x = Dropout(self.dropout, name="dropout")(x, train=train)

    def run(block, x, _):
      how = {"train": train, "decode": decode, "weights": collect}
      masks = {"mask": known.mask, "context_mask": context_mask}
      return block(x, context, causal=causal, **masks, **how)

    stacked = stack(
      run,
      self.block,
      self.depth,
      x,
      scan=self.scan,
      remat=self.remat,
      collect=collect,
    )
    if self.norm is None:
      return stacked
    return stacked._replace(x=self.norm(name="norm")(stacked.x))


def seen(stacked: Stacked, prefix: str = "") -> dict[str, tuple[Array, ...]]:
  """Returns what a model gives out as intermediates of a stack of `Block`.

  Args:
    stacked: what was collected.
    prefix: of the names of hidden states and weights, such as "decoder_".
  """
  found = {f"{prefix}hidden_states": stacked.states}
  for name in stacked.aux[0]:
    kind = name if name.startswith("cross") else f"{prefix}{name}"
    found[f"{kind}s"] = tuple(notes[name] for notes in stacked.aux)
  return found


def output(
  model: nn.Module, x: Array, table: Array | None, attention_mask: Array | None
) -> Array:
  """Returns what the head of a decoder makes of its tokens, within it.

  Args:
    model: with the fields `head`, `num_classes`, `vocabulary` and `dtype`.
    x: `[B, T, D]`.
    table: `[V, D]` that the head "lm" shares, or None if it has its own.
    attention_mask: `[B, T]`, 1 for kept tokens; None keeps all.

  Returns:
    float32 `[B, T, V]` for "lm", `[B, C]` for "classifier"; `x` for None.
  """
  if model.head is None:
    return x
  if model.head == "lm" and table is not None:
    return scores(x, table)
  how = {"use_bias": False, "kernel_init": nn.initializers.normal(0.02)}
  if model.head == "lm":
    return logits(model, model.vocab_size, **how)(x)
  return logits(model, model.num_classes, **how)(last(x, attention_mask))


def last(x: Array, attention_mask: Array | None) -> Array:
  """Returns `[B, D]` of `[B, T, D]`: what is at the last kept token."""
  if attention_mask is None:
    return x[:, -1]
  places = jnp.arange(x.shape[1]) * attention_mask.astype(bool)
  return x[jnp.arange(x.shape[0]), places.max(1)]

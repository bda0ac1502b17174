"""A bag of n-grams and a convolutional network whose logits are averaged."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.models.field_checks import check_fields, check_head
from dlcore.models.ngram_bag import NgramBag
from dlcore.models.output_layers import with_intermediates
from dlcore.models.text_cnn import TextCNN
from dlcore.typing import Array


class NgramCNN(nn.Module):
  """Maps token ids to the mean logits of an `NgramBag` and a `TextCNN`.

  The bag learns from n-grams that it has seen, the network from similar ones,
  so their errors differ. Each training example has the logits of one of the
  two, chosen at random, a dropout of whole branches (Neverova et al. 2016,
  arXiv:1501.00102): if their sum were trained, the one that learns faster
  would leave little loss to the other.

  Attributes:
    num_classes: number of classes; 1 in regression.
    head: "classifier", or None to return the features of both, concatenated.
    vocab_size: number of token ids, V.
    ngrams, buckets, ngram_dropout: see `NgramBag`.
    kernel_sizes, features, widths, activation: see `TextCNN`.
    width: width of the embeddings of n-grams and of tokens.
    bag_rate: share of the training examples with the logits of the bag, above 0
      and below 1.
    dropout: dropout rate of both, a number or a traced scalar.
    dtype: dtype of the computation; parameters and logits are float32.
  """

  embeds_ngrams: ClassVar[bool] = True
  """There is no embedding of a single token."""

  num_classes: int | None = None
  head: str | None = "classifier"
  vocab_size: int = 260
  ngrams: tuple[int, ...] = (1, 2, 3, 4, 5)
  buckets: int = 65_536
  width: int = 64
  kernel_sizes: tuple[int, ...] = (2, 3, 4, 5)
  features: int = 100
  widths: tuple[int, ...] = ()
  activation: str = "relu"
  bag_rate: float = 0.5
  dropout: float | Array = 0.0
  ngram_dropout: float | Array = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    input_ids: Array,
    *,
    attention_mask: Array | None = None,
    token_type_ids: Array | None = None,
    train: bool,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, T]` to float32 `[B, C]`.

    Args:
      input_ids: int.
      attention_mask: `[B, T]`, 0 for padding; None if there is no padding.
      token_type_ids: int `[B, T]`, see `NgramBag` and `TextCNN`.
      train: whether to apply dropout, also of branches.
      intermediates: whether to return intermediate activations.

    Returns:
      The logits, or without a head the features. With `intermediates` a pair of
      this and a dict: `hidden_states`, those of the bag and of the network.

    Raises:
      UserError: a field or the shape of an input is invalid.
    """
    self._check()
    outputs, states = [], []
    for branch in (self._bag(), self._network()):
      output, found = branch(
        input_ids,
        attention_mask=attention_mask,
        token_type_ids=token_type_ids,
        train=train,
        intermediates=True,
      )
      outputs.append(output)
      states += found["hidden_states"]
    return with_intermediates(
      self._merge(*outputs, train), states, intermediates
    )

  def _merge(self, bag: Array, network: Array, train: bool) -> Array:
    if self.head is None:
      return jnp.concatenate([bag, network], axis=-1)
    if not train:
      return (bag + network) / 2
    shape = (bag.shape[0], 1)
    is_bag = jax.random.bernoulli(
      self.make_rng("dropout"), self.bag_rate, shape
    )
    return jnp.where(is_bag, bag, network)

  def _bag(self) -> NgramBag:
    return NgramBag(
      **self._shared(),
      ngrams=self.ngrams,
      buckets=self.buckets,
      ngram_dropout=self.ngram_dropout,
      name="bag",
    )

  def _network(self) -> TextCNN:
    return TextCNN(
      **self._shared(),
      kernel_sizes=self.kernel_sizes,
      features=self.features,
      widths=self.widths,
      activation=self.activation,
      name="network",
    )

  def _shared(self) -> dict[str, Any]:
    names = ("num_classes", "head", "vocab_size", "width", "dropout", "dtype")
    return {name: getattr(self, name) for name in names}

  def _check(self) -> None:
    check_fields(self)
    check_head(self, "classifier")
    if not 0 < self.bag_rate < 1:
      raise UserError(
        "expected bag_rate above 0 and below 1", f"got {self.bag_rate}"
      )

"""The methods that all encoder-decoders have."""

from typing import Any

from flax import linen as nn

from dlcore.typing import Array, Params


class EncoderDecoder(nn.Module):
  """Base of models that map source and target ids to logits.

  A model defines `_encode` and `_decode`, and has the submodules
  `word_embedding` and, with the field `target_vocab_size`, `target_embedding`.
  """

  def __call__(
    self,
    input_ids: Array,
    decoder_input_ids: Array,
    *,
    attention_mask: Array | None = None,
    train: bool,
    decode: bool = False,
    intermediates: bool = False,
  ) -> Any:
    """Maps ids `[B, S]` and `[B, T]` to float32 `[B, T, V]`.

    Args:
      input_ids: int, the source.
      decoder_input_ids: int, the target, shifted right by a start token.
      attention_mask: `[B, S]`, 0 for padding of the source; None if there is no
        padding. Padding on either side does not change the output. Padding at
        the end of the target needs no mask.
      train: whether to apply dropout.
      decode: see the method `decode`.
      intermediates: whether to return intermediate activations.

    Returns:
      The logits, or without a head the tokens `[B, T, D]`. With
      `intermediates` a pair of this and a dict of tuples:
      `encoder_hidden_states` and `decoder_hidden_states`, the input of the
      first layer and the output of each, and `cross_attentions`, weights
      `[B, H, T, S]`. A transformer also has `encoder_attentions` and
      `decoder_attentions`.

    Raises:
      UserError: a field or the shape of an input is invalid.
    """
    encoded, of_encoder = self._encode(
      input_ids, attention_mask, train, intermediates
    )
    y, of_decoder = self._decode(
      decoder_input_ids, encoded, attention_mask, train, decode, intermediates
    )
    return (y, {**of_encoder, **of_decoder}) if intermediates else y

  def encode(
    self, input_ids: Array, *, attention_mask: Array | None = None, train: bool
  ) -> Any:
    """Encodes ids `[B, S]`; see `__call__`."""
    return self._encode(input_ids, attention_mask, train, False)[0]

  def decode(
    self,
    decoder_input_ids: Array,
    encoded: Any,
    attention_mask: Array | None = None,
    *,
    train: bool,
    decode: bool = False,
  ) -> Array:
    """Maps target ids `[B, T]` to logits `[B, T, V]`.

    Args:
      decoder_input_ids: int.
      encoded: output of `encode`.
      attention_mask: `[B, S]`, mask of the source.
      train: whether to apply dropout.
      decode: whether the ids continue those in the collection "cache". The
        first such call creates the cache for this `encoded`, whose keys and
        values later calls do not read. A transformer's cache has the length of
        the input of that call.
    """
    return self._decode(
      decoder_input_ids, encoded, attention_mask, train, decode, False
    )[0]

  def _encode(
    self, input_ids, attention_mask, train, intermediates
  ) -> tuple[Any, Params]:
    """Returns the encoded source and the intermediate activations."""
    raise NotImplementedError

  def _decode(
    self, ids, encoded, attention_mask, train, decode, intermediates
  ) -> tuple[Array, Params]:
    """Returns the logits and the intermediate activations."""
    raise NotImplementedError

  def _target_embedding(self) -> nn.Embed:
    model: Any = self
    shared = not model.target_vocab_size
    return model.word_embedding if shared else model.target_embedding

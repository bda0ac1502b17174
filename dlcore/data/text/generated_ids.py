"""Which token ids a model may generate, and which end a text."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from dlcore.data.text.tokenizer import Tokenizer


class GeneratedIds(NamedTuple):
  """Arguments of `generation.generate` and its neighbors."""

  eos_ids: tuple[int, ...]
  """Ids after which a text has ended."""

  suppress_tokens: list[int]
  """Ids that are never generated, since they are not those of a text."""

  pad_id: int
  """Id after the end."""


def generated_ids(
  tokenizer: Tokenizer, model: Any, end_ids: Iterable[int] = ()
) -> GeneratedIds:
  """Returns the ids that belong to the texts of a tokenizer.

  Args:
    tokenizer: of the generated texts.
    model: has the field `vocab_size`, and `target_vocab_size` if it translates.
      Weights may have more ids than their tokenizer.
    end_ids: further ids after which a text has ended, such as that of the end
      of a message.
  """
  known = (tokenizer.eos_id, *end_ids)
  ends = tuple(dict.fromkeys(i for i in known if i is not None))
  size = getattr(model, "target_vocab_size", 0) or model.vocab_size
  others = {*tokenizer.special_ids, *range(tokenizer.vocab_size, size)}
  return GeneratedIds(ends, sorted(others - {*ends}), tokenizer.pad_id)

"""From pairs to splits: division, vocabularies, token ids."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.array_source import from_arrays
from dlcore.data.info import (
  IGNORED,
  IS_EXACT,
  LABELS,
  REFERENCE,
  SOURCE_ID,
  TOKENS,
)
from dlcore.data.source import Arrays, Splits, gather
from dlcore.data.split_plan import Plan, make_plan, name_examples
from dlcore.data.text.pair_notes import (
  PairTokenizers,
  are_exact,
  describe_inexact,
  describe_tokens,
  report_long,
)
from dlcore.data.text.pair_schema import PairSchema
from dlcore.data.text.reference_texts import pack_texts
from dlcore.data.text.target_tokens import check_end, encode_targets
from dlcore.data.text.text_encoding import MASK, EncodedTexts, encode_texts
from dlcore.data.text.text_parts import TextPart, hash_texts, without_empty
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.tokenizer import make_tokenizer
from dlcore.errors import UserError

ROUND_TO = 8
"""The length of the arrays is a multiple of this."""


class PairSettings(NamedTuple):
  """How pairs become token ids, and the settings of the splits."""

  text: TextSettings = TextSettings()
  """Of the sources; limits and splits are those of both sides."""

  target_tokenizer: str = ""
  """Kind or path, see `make_tokenizer`; empty for one vocabulary of both."""

  def check(self) -> None:
    """Checks the settings, which need no data.

    Raises:
      UserError: one is out of range.
    """
    for settings in self.by_side():
      settings.check()

  def by_side(self) -> list[TextSettings]:
    """Returns the settings of the sources, and of targets of their own."""
    if not self.target_tokenizer:
      return [self.text]
    return [self.text, self.text._replace(tokenizer=self.target_tokenizer)]


def build_pairs(
  parts: Mapping[str, TextPart],
  settings: PairSettings,
  name: str,
  *,
  column: str = "source",
  notes: Sequence[str] = (),
  references: bool = False,
) -> Splits:
  """Returns the splits of pairs, of which `TextPart.pairs` are the targets.

  White space becomes single spaces, and pairs with an empty side are left out.
  Pairs of one source are in the same split. The pairs are split before the
  vocabularies are counted, in the training pairs alone. Both sides have as many
  positions as the longest of both needs.

  Args:
    parts: the pairs of `"train"` and, if the data set has them, of `"valid"`
      and `"test"`.
    settings: of tokens and splits.
    name: of the data set.
    column: name of the column of the sources.
    notes: sentences for the user.
    references: whether the targets of one source are references of one example,
      see `info.SOURCE_ID`.

  Raises:
    UserError: a split has no pairs, a side is too long for on_long="error", or
      see `make_plan` and `make_tokenizer`.
  """
  parts, of_empty = without_empty(parts)
  plan = plan_pairs(parts, settings.text)
  tokenizers = _tokenizers(parts, plan, settings)
  most = settings.text.max_length
  target = tokenizers.target or tokenizers.source
  sides = {
    part: (
      encode_texts(content.texts, None, tokenizers.source, most),
      encode_targets(content.pairs or (), target, most),
    )
    for part, content in parts.items()
  }
  of_long = report_long(parts, sides, plan, settings.text)
  lengths = {part: _longer(both) for part, both in sides.items()}
  longest = max(int(part.max()) for part in lengths.values())
  schema = PairSchema(
    tokenizer=tokenizers.source,
    target_tokenizer=tokenizers.target,
    vocab_size=tokenizers.source.vocab_size,
    columns=(column,),
    max_length=min(-(-longest // ROUND_TO) * ROUND_TO, most),
    prediction_length=most,
    on_long=settings.text.on_long,
    sequences=(TOKENS, MASK, LABELS),
  )
  arrays = {part: _arrays(both, schema) for part, both in sides.items()}
  exact = {
    part: {IS_EXACT: are_exact(content.pairs or (), sides[part][1], schema)}
    for part, content in parts.items()
  }
  of_exact = describe_inexact(exact, plan)
  if of_exact:
    arrays = {part: {**arrays[part], **exact[part]} for part in arrays}
  if references:
    for part, content in parts.items():
      _, ids = np.unique(content.texts, return_inverse=True)
      arrays[part] = {**arrays[part], SOURCE_ID: ids.astype(np.int32)}
  splits = {split: gather(arrays, rows) for split, rows in plan.rows.items()}
  for split in [split for split in splits if of_exact and split != "train"]:
    texts = side_texts(parts, plan.rows[split], (1,))
    splits[split] |= {REFERENCE: pack_texts(texts, target)}
  notes = [*notes, *of_empty, *plan.notes, *of_long, *of_exact]
  notes.append(describe_tokens(tokenizers, splits))
  sizes = {part: len(content.texts) for part, content in parts.items()}
  lengths = {part: {"length": array} for part, array in lengths.items()}
  sources = {
    split: from_arrays(
      splits[split],
      name=name,
      schema=schema,
      notes=notes,
      lengths=gather(lengths, rows)["length"],
    )
    for split, rows in plan.rows.items()
  }
  names = {part: np.asarray(p.names) for part, p in parts.items()}
  return name_examples(Splits(**sources), plan, names, sizes)


def plan_pairs(parts: Mapping[str, TextPart], settings: TextSettings) -> Plan:
  """Returns the splits of pairs, where those of one first text are together."""
  hashes = {
    part: hash_texts(content._replace(pairs=None))
    for part, content in parts.items()
  }
  return make_plan(
    hashes["train"],
    None,
    list(parts),
    hashes.__getitem__,
    together=True,
    **parts["train"].columns,
    **settings.splits.arguments(),
  )


def _tokenizers(
  parts: Mapping[str, TextPart], plan: Plan, settings: PairSettings
) -> PairTokenizers:
  """Returns tokenizers that are fitted to the training pairs, or read."""
  is_shared = not settings.target_tokenizer
  made = []
  for i, side in enumerate(settings.by_side()):
    sides = (0, 1) if is_shared else (i,)
    tokenizer = make_tokenizer(
      side.tokenizer,
      side_texts(parts, plan.rows["train"], sides),
      vocab_size=side.vocab_size,
      min_count=side.min_count,
      lowercase=side.lowercase,
      setting=("tokenizer", "target_tokenizer")[i],
    )
    least = tokenizer.frame(pair=False).size + 1
    if side.max_length < least:
      raise UserError(
        f"expected max_length of at least {least}, for the special tokens of "
        f"{side.tokenizer}",
        f"got {side.max_length}",
      )
    made.append(tokenizer)
  target = settings.target_tokenizer or settings.text.tokenizer
  check_end(made[-1], target)
  return PairTokenizers(made[0], None if is_shared else made[1])


def side_texts(
  parts: Mapping[str, TextPart],
  pieces: Mapping[str, np.ndarray | None],
  sides: Sequence[int],
) -> Iterator[str]:
  """Yields the texts of some sides of a split, 0 for source, 1 for target."""
  for part, rows in pieces.items():
    content = parts[part] if rows is None else parts[part].take(rows)
    for side in sides:
      yield from (content.texts, content.pairs or ())[side]


def _longer(both: tuple[EncodedTexts, EncodedTexts]) -> np.ndarray:
  """Returns the length of the longer side of each pair, int32 `[N]`."""
  return np.maximum(*(side.ids.lengths for side in both))


def _arrays(
  both: tuple[EncodedTexts, EncodedTexts], schema: PairSchema
) -> Arrays:
  """Returns the inputs and the labels of pairs."""
  assert schema.tokenizer is not None
  source, target = both
  rows = np.arange(len(source.full_lengths))
  ids, mask = source.ids.padded(
    rows, schema.max_length, schema.tokenizer.pad_id
  )
  labels, _ = target.ids.padded(rows, schema.max_length, IGNORED)
  return {TOKENS: ids, MASK: mask.astype(np.uint8), LABELS: labels}

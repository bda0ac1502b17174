"""From texts and targets to splits: division, vocabulary, token ids."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.array_source import TARGETS
from dlcore.data.normalization import with_statistics
from dlcore.data.source import Arrays, Source, Splits, gather, take_rows
from dlcore.data.split import describe_classes
from dlcore.data.split_columns import Column
from dlcore.data.split_plan import Plan, make_plan, name_examples
from dlcore.data.text.text_encoding import (
  EncodedTexts,
  TokenRows,
  clean_text,
  encode_texts,
)
from dlcore.data.text.text_schema import TextSchema, describe_long
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.token_sources import join_texts, make_source
from dlcore.data.text.tokenizer import Tokenizer, make_tokenizer
from dlcore.errors import UserError

ROUND_TO = 8
"""The length of the arrays is a multiple of this."""


class TextPart(NamedTuple):
  """The examples of a file, before they are split."""

  texts: Sequence[str]

  pairs: Sequence[str] | None
  """The second text of each pair, or None."""

  targets: Arrays
  """`label` int32 `[N]` or float32 `[N, C]`, or `target` float32 `[N]`."""

  names: Sequence[str]
  """Name of each example, such as "reviews.csv:2"."""

  columns: Mapping[str, Column | None] = {}
  """`groups`, `times` and `assigned` of train, see `split.make_splits`."""

  def take(self, rows: np.ndarray) -> "TextPart":
    """Returns some examples."""
    if len(rows) == len(self.texts):
      return self
    return TextPart(
      [self.texts[i] for i in rows],
      None if self.pairs is None else [self.pairs[i] for i in rows],
      take_rows(self.targets, rows),
      [self.names[i] for i in rows],
      {k: _take(column, rows) for k, column in self.columns.items()},
    )


def build_splits(
  parts: Mapping[str, TextPart],
  settings: TextSettings,
  name: str,
  schema: TextSchema | None = None,
  notes: Sequence[str] = (),
) -> Splits:
  """Returns the splits of texts, or of pairs of texts.

  White space becomes single spaces, and empty texts are left out. The examples
  are split before the vocabulary is counted, in the training texts alone.

  Args:
    parts: the examples of `"train"` and, if the data set has them, of `"valid"`
      and `"test"`.
    settings: of tokens and splits.
    name: of the data set.
    schema: with the classes, and the columns of the texts.
    notes: sentences for the user.

  Raises:
    UserError: a split has no texts, a text is too long for on_long="error", or
      see `make_plan` and `make_tokenizer`.
  """
  schema = schema or TextSchema()
  parts, of_empty = _without_empty(parts)
  plan = _plan(parts, settings)
  of_classes = describe_classes(
    plan, parts["train"].targets.get("label"), schema.classes
  )
  tokenizer = make_tokenizer(
    settings.tokenizer,
    _texts(parts, plan.rows["train"]),
    vocab_size=settings.vocab_size,
    min_count=settings.min_count,
    lowercase=settings.lowercase,
  )
  _check_room(tokenizer, schema, settings)
  encoded = {
    part: encode_texts(
      content.texts, content.pairs, tokenizer, settings.max_length
    )
    for part, content in parts.items()
  }
  of_long = _report_long(parts, encoded, settings)
  targets = {part: content.targets for part, content in parts.items()}
  splits = {
    split: (
      join_texts([encoded[part].take(rows) for part, rows in pieces.items()]),
      gather(targets, pieces),
    )
    for split, pieces in plan.rows.items()
  }
  schema = dataclasses.replace(
    schema,
    target=next(name for name in TARGETS if name in targets["train"]),
    tokenizer=tokenizer,
    vocab_size=tokenizer.vocab_size,
    max_length=_array_length(encoded, settings.max_length),
    on_long=settings.on_long,
  )
  schema = with_statistics(schema, splits["train"][1])
  tokens = _describe_tokens(tokenizer, {k: v for k, (v, _) in splits.items()})
  notes = [*notes, *of_empty, *plan.notes, *of_classes, *of_long, *tokens]
  sources = _sources(splits, schema, settings, name, notes)
  names = {part: np.asarray(p.names) for part, p in parts.items()}
  sizes = {part: len(p.texts) for part, p in parts.items()}
  return name_examples(Splits(**sources), plan, names, sizes)


def _take(column: Column | None, rows: np.ndarray) -> Column | None:
  return None if column is None else np.asarray(column)[rows]


def _without_empty(
  parts: Mapping[str, TextPart],
) -> tuple[dict[str, TextPart], list[str]]:
  """Returns the examples with clean texts that are not empty, and a note."""
  kept, empty = {}, []
  for part, content in parts.items():
    texts = list(map(clean_text, content.texts))
    pairs = content.pairs and list(map(clean_text, content.pairs))
    content = content._replace(texts=texts, pairs=pairs)
    is_empty = np.array([not text for text in texts], bool)
    if pairs is not None:
      is_empty |= np.array([not text for text in pairs], bool)
    empty += [content.names[i] for i in np.flatnonzero(is_empty)]
    if is_empty.all():
      raise UserError(
        f"expected texts in {part}",
        f"got {len(texts)} examples, all of them empty",
        "name the column that contains the texts",
      )
    kept[part] = content.take(np.flatnonzero(~is_empty))
  notes = [f"{len(empty)} examples with an empty text were left out: "]
  notes = [f"{note}{bad_examples.shorten(empty)}" for note in notes]
  return kept, notes if empty else []


def _plan(parts: Mapping[str, TextPart], settings: TextSettings) -> Plan:
  hashes = {part: _hashes(content) for part, content in parts.items()}
  train = parts["train"]
  return make_plan(
    hashes["train"],
    train.targets.get("label"),
    list(parts),
    hashes.__getitem__,
    **train.columns,
    **settings.splits.arguments(),
  )


def _hashes(part: TextPart) -> list[str]:
  """Returns a hash of the texts of each example, which decides its split."""
  pairs = [""] * len(part.texts) if part.pairs is None else part.pairs
  return [
    hashlib.blake2b(f"{text}\n{pair}".encode(), digest_size=8).hexdigest()
    for text, pair in zip(part.texts, pairs, strict=True)
  ]


def _texts(
  parts: Mapping[str, TextPart], pieces: Mapping[str, np.ndarray | None]
) -> Any:
  """Yields the texts of a split, in which the symbols are counted."""
  for part, rows in pieces.items():
    content = parts[part] if rows is None else parts[part].take(rows)
    yield from content.texts
    yield from content.pairs or ()


def _check_room(
  tokenizer: Tokenizer, schema: TextSchema, settings: TextSettings
) -> None:
  pair = schema.is_pair
  least = tokenizer.frame(pair=pair).size + 1 + pair
  if settings.max_length < least:
    raise UserError(
      f"expected max_length of at least {least}, for the special tokens of "
      f"{settings.tokenizer}",
      f"got {settings.max_length}",
    )


def _report_long(
  parts: Mapping[str, TextPart],
  encoded: Mapping[str, EncodedTexts],
  settings: TextSettings,
) -> list[str]:
  """Returns a note on the texts that are truncated, or raises a UserError."""
  most, long, size = settings.max_length, [], 0
  for part, rows in encoded.items():
    size += len(rows.full_lengths)
    long += [
      (parts[part].names[i], describe_long(rows.full_lengths[i], most))
      for i in np.flatnonzero(rows.full_lengths > most)
    ]
  if settings.on_long == "error":
    return bad_examples.report(
      long,
      "error",
      noun="texts that are too long",
      expected=f"expected texts of at most {most:,} tokens",
      remedy='increase max_length, or set on_long="truncate"',
      empty=False,
    )
  if not long:
    return []
  return [f"{len(long):,} of {size:,} texts are truncated to {most:,} tokens"]


def _array_length(encoded: Mapping[str, EncodedTexts], max_length: int) -> int:
  """Returns T, the length of the longest text rounded up."""
  longest = max(int(part.ids.lengths.max()) for part in encoded.values())
  return min(-(-longest // ROUND_TO) * ROUND_TO, max_length)


def _describe_tokens(
  tokenizer: Tokenizer, splits: Mapping[str, EncodedTexts]
) -> list[str]:
  """Returns a note on the vocabulary and on the tokens outside of it."""
  unknown = [
    f"{np.mean(texts.ids.values == tokenizer.unknown_id):.1%} of {split}"
    for split, texts in splits.items()
  ]
  note = f"tokenizer {tokenizer.kind!r}: {tokenizer.vocab_size:,} ids"
  if tokenizer.kind == "bytes" or tokenizer.unknown_id is None:
    return [note]
  return [f"{note}; unknown are {', '.join(unknown)}"]


def _sources(
  splits: Mapping[str, tuple[EncodedTexts, Arrays]],
  schema: TextSchema,
  settings: TextSettings,
  name: str,
  notes: Sequence[str],
) -> dict[str, Source]:
  """Returns the source of each split, in memory if all fit in the limit."""
  assert schema.tokenizer is not None
  size = sum(len(texts.full_lengths) for texts, _ in splits.values())
  in_memory = 4 * size * schema.max_length <= settings.in_memory_limit
  return {
    split: make_source(
      TokenRows(texts, schema.max_length, schema.tokenizer.pad_id, targets),
      schema,
      name=name,
      notes=notes,
      in_memory=in_memory,
    )
    for split, (texts, targets) in splits.items()
  }

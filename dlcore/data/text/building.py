"""From texts and targets to splits: division, vocabulary, token ids."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.array_source import TARGETS
from dlcore.data.normalization import with_statistics
from dlcore.data.source import Arrays, Source, Splits, gather
from dlcore.data.split import describe_classes
from dlcore.data.split_plan import Plan, make_plan, name_examples
from dlcore.data.text.text_encoding import (
  EncodedTexts,
  TokenRows,
  encode_texts,
)
from dlcore.data.text.text_parts import TextPart, hash_texts, without_empty
from dlcore.data.text.text_schema import (
  TextSchema,
  describe_long,
  describe_splits,
)
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.token_sources import join_texts, make_source
from dlcore.data.text.tokenizer import Tokenizer, make_tokenizer
from dlcore.errors import UserError

ROUND_TO = 8
"""The length of the arrays is a multiple of this."""


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
  parts, of_empty = without_empty(parts)
  plan = _plan(parts, settings)
  labels = parts["train"].targets.get("label")
  of_classes = describe_classes(plan, labels, schema.classes)
  tokenizer = _tokenizer(parts, plan, schema, settings)
  frame = tokenizer.frame(pair=schema.is_pair)
  encoded = {
    part: encode_texts(
      content.texts, content.pairs, tokenizer, settings.max_length
    )
    for part, content in parts.items()
  }
  of_long = _report_long(parts, encoded, plan, settings)
  of_long += _report_blank(parts, encoded, frame.size)
  splits = _gather(parts, encoded, plan)
  schema = dataclasses.replace(
    schema,
    target=next(name for name in TARGETS if name in parts["train"].targets),
    tokenizer=tokenizer,
    vocab_size=tokenizer.vocab_size,
    max_length=_array_length(encoded, settings.max_length),
    prediction_length=settings.max_length,
    on_long=settings.on_long,
  )
  schema = with_statistics(schema, splits["train"][1])
  tokens = _describe_tokens(tokenizer, {k: v for k, (v, _) in splits.items()})
  notes = [*notes, *of_empty, *plan.notes, *of_classes, *of_long, *tokens]
  sources = _sources(splits, schema, settings, name, notes)
  names = {part: np.asarray(p.names) for part, p in parts.items()}
  sizes = {part: len(p.texts) for part, p in parts.items()}
  return name_examples(Splits(**sources), plan, names, sizes)


def _plan(parts: Mapping[str, TextPart], settings: TextSettings) -> Plan:
  hashes = {part: hash_texts(content) for part, content in parts.items()}
  train = parts["train"]
  return make_plan(
    hashes["train"],
    train.targets.get("label"),
    list(parts),
    hashes.__getitem__,
    together=True,
    **train.columns,
    **settings.splits.arguments(),
  )


def _tokenizer(
  parts: Mapping[str, TextPart],
  plan: Plan,
  schema: TextSchema,
  settings: TextSettings,
) -> Tokenizer:
  """Returns the tokenizer that is fitted to the training texts, or read."""
  tokenizer = make_tokenizer(
    settings.tokenizer,
    _texts(parts, plan.rows["train"]),
    vocab_size=settings.vocab_size,
    min_count=settings.min_count,
    lowercase=settings.lowercase,
  )
  pair = schema.is_pair
  least = tokenizer.frame(pair=pair).size + 1 + pair
  if settings.max_length < least:
    raise UserError(
      f"expected max_length of at least {least}, for the special tokens of "
      f"{settings.tokenizer}",
      f"got {settings.max_length}",
    )
  return tokenizer


def _texts(
  parts: Mapping[str, TextPart], pieces: Mapping[str, np.ndarray | None]
) -> Iterator[str]:
  """Yields the texts of a split."""
  for part, rows in pieces.items():
    content = parts[part] if rows is None else parts[part].take(rows)
    yield from content.texts
    yield from content.pairs or ()


def _gather(
  parts: Mapping[str, TextPart],
  encoded: Mapping[str, EncodedTexts],
  plan: Plan,
) -> dict[str, tuple[EncodedTexts, Arrays]]:
  """Returns the token ids and the targets of each split."""
  targets = {part: content.targets for part, content in parts.items()}
  return {
    split: (
      join_texts([encoded[part].take(rows) for part, rows in pieces.items()]),
      gather(targets, pieces),
    )
    for split, pieces in plan.rows.items()
  }


def _report_blank(
  parts: Mapping[str, TextPart],
  encoded: Mapping[str, EncodedTexts],
  least: int,
) -> list[str]:
  """Returns a note on texts of which the tokenizer makes no token.

  Args:
    parts: the texts.
    encoded: their ids.
    least: the number of special tokens of each.
  """
  blank = [
    parts[part].names[i]
    for part, rows in encoded.items()
    for i in np.flatnonzero(rows.full_lengths <= least)
  ]
  listed = bad_examples.shorten(blank)
  return [f"{len(blank)} texts have no token: {listed}"] if blank else []


def _report_long(
  parts: Mapping[str, TextPart],
  encoded: Mapping[str, EncodedTexts],
  plan: Plan,
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
  lengths = {k: {"": texts.full_lengths} for k, texts in encoded.items()}
  by_split = describe_splits(
    {k: gather(lengths, rows)[""] > most for k, rows in plan.rows.items()}
  )
  return [
    f"{len(long):,} of {size:,} texts are truncated to {most:,} tokens: "
    f"{by_split}"
  ]


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

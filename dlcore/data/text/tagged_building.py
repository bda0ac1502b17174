"""From files of tokens and tags to splits: division, vocabulary, arrays."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.array_source import from_arrays
from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.data.source import Arrays, Splits, gather
from dlcore.data.split_checks import compare_classes
from dlcore.data.split_columns import Column
from dlcore.data.split_plan import make_plan, name_examples
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables.raw_columns import Chunk, build_table
from dlcore.data.tables.row_division import columns_of_splits
from dlcore.data.text.ragged import Ragged
from dlcore.data.text.tagged_schema import (
  DEFAULT_FORMAT,
  TaggedSchema,
  encode_tokens,
  padded_inputs,
)
from dlcore.data.text.text_encoding import MASK
from dlcore.data.text.text_schema import describe_long
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.token_files import (
  Sentence,
  TokenFormat,
  read_sentences,
)
from dlcore.data.text.tokenizer import make_tokenizer
from dlcore.errors import UserError

ROUND_TO = 8
"""The length of the arrays is a multiple of this."""

Parts = Mapping[str, Sequence[Sentence]]
"""The sequences of each file."""


def build_tagged(
  paths: Mapping[str, Path],
  form: TokenFormat,
  settings: TextSettings,
  on_bad: str,
) -> Splits:
  """Reads and splits the files; see `tagged_text.tagged_text`."""
  parts, notes = _read(paths, form, on_bad, settings.splits)
  names = {
    part: [f"{paths[part].name}:{s.line}" for s in sentences]
    for part, sentences in parts.items()
  }
  columns = _split_columns(paths["train"], parts["train"], settings.splits)
  return build_sentences(
    parts, names, settings, "tagged_text", notes, form, columns
  )


def build_sentences(
  parts: Parts,
  names: Mapping[str, Sequence[str]],
  settings: TextSettings,
  name: str,
  notes: Sequence[str] = (),
  form: TokenFormat = DEFAULT_FORMAT,
  columns: Mapping[str, Column | None] = {},
) -> Splits:
  """Returns the splits of sequences of tokens with tags.

  Args:
    parts: the sequences of `"train"` and, if the data set has them, of
      `"valid"` and `"test"`.
    names: of the sequences of each part.
    settings: of tokens and splits.
    name: of the data set.
    notes: sentences for the user.
    form: where tokens are in new files.
    columns: `groups`, `times` and `assigned` of train, see `split.make_splits`.

  Raises:
    UserError: all tags are the same, a sequence is too long for
      on_long="error", or see `make_plan`.
  """
  notes = [*notes, *_report_long(parts, names, settings)]
  classes = _classes(parts)
  hashes = {part: _hashes(content) for part, content in parts.items()}
  plan = make_plan(
    hashes["train"],
    None,
    list(parts),
    hashes.__getitem__,
    **columns,
    together=True,
    **settings.splits.arguments(),
  )
  tokenizer = make_tokenizer(
    settings.tokenizer,
    (" ".join(s.tokens) for s in _of_split(parts, plan.rows["train"])),
    vocab_size=settings.vocab_size,
    min_count=settings.min_count,
    lowercase=settings.lowercase,
  )
  longest = max(len(s.tokens) for part in parts.values() for s in part)
  length = min(-(-longest // ROUND_TO) * ROUND_TO, settings.max_length)
  schema = TaggedSchema(
    classes=classes,
    tokenizer=tokenizer,
    vocab_size=tokenizer.vocab_size,
    form=form,
    max_length=length,
    prediction_length=settings.max_length,
    on_long=settings.on_long,
  )
  arrays = {part: _arrays(content, schema) for part, content in parts.items()}
  splits = {
    split: gather(arrays, pieces) for split, pieces in plan.rows.items()
  }
  notes += plan.notes
  notes += _describe_tags(splits, classes)
  notes += _describe_tokens(splits, schema)
  sources = {
    split: from_arrays(
      part,
      name=name,
      schema=schema,
      notes=notes,
      lengths=part[MASK].sum(1, dtype=np.int32),
    )
    for split, part in splits.items()
  }
  sizes = {part: len(content) for part, content in parts.items()}
  return name_examples(Splits(**sources), plan, names, sizes)


def _read(
  paths: Mapping[str, Path],
  form: TokenFormat,
  on_bad: str,
  rule: SplitSettings,
) -> tuple[dict[str, list[Sentence]], list[str]]:
  """Returns the sequences of each file, and a note on those that are bad."""
  fields = {"train": _field_names(rule)}
  read = {
    part: list(
      read_sentences(path, form, tagged=True, fields=fields.get(part, ()))
    )
    for part, path in paths.items()
  }
  for part, sentences in read.items():
    if not sentences:
      raise UserError(
        f"expected sequences of tokens in {paths[part]}",
        "got none: the file is empty",
      )
  parts = {
    part: [s for s in sentences if not s.error]
    for part, sentences in read.items()
  }
  notes = bad_examples.report(
    [
      (f"{paths[part].name}:{s.line}", s.error)
      for part, sentences in read.items()
      for s in sentences
      if s.error
    ],
    on_bad,
    noun="bad sequences",
    expected="expected a tag for every token",
    remedy="set token_column and tag_column, or tokens and tags; fix them, or "
    'skip them with on_bad="skip"',
    empty=not all(parts.values()),
  )
  return parts, notes


def _field_names(rule: SplitSettings) -> list[str]:
  """Returns the names of the fields that decide the splits."""
  return [name for name in (rule.group, rule.time, rule.split) if name]


def _split_columns(
  path: Path, sentences: Sequence[Sentence], rule: SplitSettings
) -> dict[str, np.ndarray | None]:
  """Returns the fields that decide the splits; see `build_sentences`.

  Raises:
    UserError: no sequence has one of them.
  """
  names = _field_names(rule)
  if not names:
    return {}
  cells = {name: [s.fields[name] for s in sentences] for name in names}
  for name, values in cells.items():
    if not any(values):
      raise UserError(
        f"expected sequences with a field {name!r} in {path}",
        "got none with it",
        "choose a field of the JSON objects, a column of the table, or the "
        f"name of comments, such as '# {name} = 1' in a .conllu file",
      )
  chunk = Chunk([s.line for s in sentences], cells)
  return columns_of_splits(build_table(path, [chunk]), rule)


def _report_long(
  parts: Parts, names: Mapping[str, Sequence[str]], settings: TextSettings
) -> list[str]:
  """Returns a note on the sequences that are truncated, or raises an error."""
  most = settings.max_length
  long = [
    (name, describe_long(len(sentence.tokens), most))
    for part, sentences in parts.items()
    for name, sentence in zip(names[part], sentences, strict=True)
    if len(sentence.tokens) > most
  ]
  if settings.on_long == "error":
    return bad_examples.report(
      long,
      "error",
      noun="sequences that are too long",
      expected=f"expected sequences of at most {most:,} tokens",
      remedy='increase max_length, or set on_long="truncate"',
      empty=False,
    )
  size = sum(map(len, parts.values()))
  note = f"{len(long):,} of {size:,} sequences are truncated to {most:,} tokens"
  return [note] if long else []


def _classes(parts: Parts) -> tuple[str, ...]:
  """Returns the tags of all files in the order of their names.

  Raises:
    UserError: there are fewer than two.
  """
  tags = {t for part in parts.values() for s in part for t in s.tags}
  classes = sorted(tag for tag in tags if tag is not None)
  if len(classes) < 2:
    got = f"{classes[0]!r} for all tokens" if classes else "none"
    raise UserError(
      "expected at least two different tags",
      f"got {got}",
      "set tag_column to the column of the tags, or tags to their name",
    )
  return tuple(classes)


def _hashes(sentences: Sequence[Sentence]) -> list[str]:
  """Returns a hash of the tokens of each sequence, which decides its split."""
  return [
    hashlib.blake2b("\n".join(s.tokens).encode(), digest_size=8).hexdigest()
    for s in sentences
  ]


def _of_split(
  parts: Parts, pieces: Mapping[str, np.ndarray | None]
) -> list[Sentence]:
  """Returns the sequences of a split."""
  return [
    parts[part][i]
    for part, rows in pieces.items()
    for i in (range(len(parts[part])) if rows is None else rows)
  ]


def _arrays(sentences: Sequence[Sentence], schema: TaggedSchema) -> Arrays:
  """Returns the inputs and the labels of sequences."""
  assert schema.tokenizer is not None
  length = schema.max_length
  numbers: dict[str | None, int] = {None: IGNORED}
  numbers |= {tag: i for i, tag in enumerate(schema.classes)}
  ids = encode_tokens([s.tokens for s in sentences], schema.tokenizer, length)
  tags = Ragged.of([numbers[t] for t in s.tags[:length]] for s in sentences)
  labels, _ = tags.padded(np.arange(len(sentences)), length, IGNORED)
  inputs = padded_inputs(ids, length, schema.tokenizer.pad_id)
  return {**inputs, LABELS: labels}


def _describe_tags(
  splits: Mapping[str, Arrays], classes: Sequence[str]
) -> list[str]:
  """Returns notes on the tags, and on those that a split lacks."""
  found = {
    split: [classes[i] for i in np.unique(part[LABELS]) if i != IGNORED]
    for split, part in splits.items()
  }
  return [
    f"{len(classes)} tags: {bad_examples.shorten(classes)}",
    *compare_classes(found, strict=False),
  ]


def _describe_tokens(
  splits: Mapping[str, Arrays], schema: TaggedSchema
) -> list[str]:
  """Returns a note on the vocabulary and on the tokens outside of it."""
  assert schema.tokenizer is not None
  shares = []
  for split, part in splits.items():
    ids = part[TOKENS][part[MASK] > 0]
    share = np.mean(ids == schema.tokenizer.unknown_id)
    shares.append(f"{share:.1%} of {split}")
  return [f"{schema.vocab_size:,} token ids; unknown are {', '.join(shares)}"]

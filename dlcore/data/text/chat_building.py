"""From conversations to splits: division, vocabulary, token ids, packing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.array_source import from_arrays
from dlcore.data.info import IGNORED, LABELS
from dlcore.data.source import Splits
from dlcore.data.split_plan import Plan, make_plan
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.chat_choice import (
  check_template,
  known_template,
  template_fields,
)
from dlcore.data.text.chat_files import Conversation
from dlcore.data.text.chat_schema import ChatSchema
from dlcore.data.text.chat_template import (
  LOSSES,
  ChatTokens,
  template_texts,
)
from dlcore.data.text.packing import Packing
from dlcore.data.text.text_schema import describe_long, describe_splits
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.tokenizer import make_tokenizer
from dlcore.errors import UserError, check_choice

Parts = Mapping[str, Sequence[Conversation]]
"""The conversations of each part of the data."""


class ChatSettings(NamedTuple):
  """How conversations become rows of tokens."""

  text: TextSettings = TextSettings(tokenizer="bytes")
  template: str = "auto"
  """See `template_fields`."""

  loss: str = "assistant"
  """A value of `LOSSES`."""

  on_bad: str = "error"
  """See `bad_examples.report`, of conversations that the template refuses."""

  def check(self) -> None:
    """Checks the settings, which need no data.

    Raises:
      UserError: one is out of range.
    """
    self.text.check()
    check_template(self.template)
    check_choice("loss", self.loss, LOSSES)
    bad_examples.check_on_bad(self.on_bad)


def build_conversations(
  parts: Parts,
  settings: ChatSettings,
  paths: Mapping[str, Path],
  notes: Sequence[str],
) -> Splits:
  """Returns the splits of conversations.

  Args:
    parts: those of the files.
    settings: of tokens and splits.
    paths: of the files, for messages.
    notes: sentences for the user.

  Raises:
    UserError: a split has no answers, a conversation is too long for
      on_long="error", or see `make_plan`, `make_tokenizer` and `ChatEncoder`.
  """
  text, plan = settings.text, _plan(parts, settings.text.splits)
  fitted = known_template(settings.template, text.tokenizer)
  tokenizer = make_tokenizer(
    text.tokenizer,
    (
      piece
      for conversation in _of_split(parts, plan.rows["train"])
      for piece in template_texts(fitted, conversation.messages)
    ),
    vocab_size=text.vocab_size,
    min_count=text.min_count,
    lowercase=text.lowercase,
  )
  schema = ChatSchema(
    tokenizer=tokenizer,
    vocab_size=tokenizer.vocab_size,
    max_length=text.max_length,
    **template_fields(settings.template, text.tokenizer, tokenizer),
    loss=settings.loss,
  )
  encoded, bad = {}, []
  for split, rows in plan.rows.items():
    encoded[split] = list(_encode(schema, parts, rows, paths, bad))
  notes = [*notes, *plan.notes, *_report_bad(bad, encoded, settings.on_bad)]
  names = {split: [n for n, _ in part] for split, part in encoded.items()}
  tokens = {split: [c for _, c in part] for split, part in encoded.items()}
  notes += _report_long(tokens, names, text)
  packings = {
    split: schema.pack_conversations(_with_answers(split, part, schema))
    for split, part in tokens.items()
  }
  notes += _describe(tokens, packings, schema)
  return Splits(
    **{
      split: from_arrays(
        packing.arrays, name="chat", schema=schema, notes=notes
      )
      for split, packing in packings.items()
    }
  )


def _plan(parts: Parts, rule: SplitSettings) -> Plan:
  hashes = {part: [c.key for c in rows] for part, rows in parts.items()}
  columns = {
    argument: [c.columns[name] for c in parts["train"]]
    for argument, name in (("groups", rule.group), ("assigned", rule.split))
    if name
  }
  return make_plan(
    hashes["train"],
    None,
    list(parts),
    hashes.__getitem__,
    together=True,
    **columns,
    **rule.arguments(),
  )


def _named(
  parts: Parts, pieces: Mapping[str, np.ndarray | None]
) -> Iterator[tuple[str, Conversation]]:
  """Yields the part and the conversation of each example of a split."""
  for part, rows in pieces.items():
    for i in range(len(parts[part])) if rows is None else rows.tolist():
      yield part, parts[part][i]


def _of_split(
  parts: Parts, pieces: Mapping[str, np.ndarray | None]
) -> Iterator[Conversation]:
  return (conversation for _, conversation in _named(parts, pieces))


def _encode(
  schema: ChatSchema,
  parts: Parts,
  rows: Mapping[str, np.ndarray | None],
  paths: Mapping[str, Path],
  bad: list[tuple[str, str]],
) -> Iterator[tuple[str, ChatTokens]]:
  """Yields names and tokens of the conversations of a split.

  Args:
    schema: with the template.
    parts: the conversations.
    rows: those of the split, by part.
    paths: of the files, for names.
    bad: gets names and reasons of those that the template refuses.
  """
  encode = schema.encoder.encode
  for part, conversation in _named(parts, rows):
    name = f"{paths[part].name}:{conversation.line}"
    try:
      yield name, encode(conversation.messages)
    except UserError as error:
      bad.append((name, "; ".join(error.lines[1:2]).removeprefix("got ")))


def _report_bad(
  bad: Sequence[tuple[str, str]], encoded: Mapping[str, Sequence], on_bad: str
) -> list[str]:
  """Returns a note on conversations that the template refuses, or raises."""
  return bad_examples.report(
    bad,
    on_bad,
    noun="conversations that the chat template refuses",
    expected="expected conversations that the chat template accepts",
    remedy='change them, skip them with on_bad="skip", or set data.template to '
    "'chatml', 'llama3' or 'plain'",
    empty=not all(encoded.values()),
  )


def _report_long(
  tokens: Mapping[str, Sequence[ChatTokens]],
  names: Mapping[str, Sequence[str]],
  settings: TextSettings,
) -> list[str]:
  """Returns a note on truncated conversations, or raises a UserError."""
  most = settings.max_length
  sizes = {k: np.array([len(c.ids) for c in v]) for k, v in tokens.items()}
  long = [
    (names[split][i], describe_long(int(part[i]), most))
    for split, part in sizes.items()
    for i in np.flatnonzero(part > most).tolist()
  ]
  if settings.on_long == "error":
    return bad_examples.report(
      long,
      "error",
      noun="conversations that are too long",
      expected=f"expected conversations of at most {most:,} tokens",
      remedy='increase max_length, or set on_long="truncate"',
      empty=False,
    )
  if not long:
    return []
  total = sum(map(len, sizes.values()))
  by_split = describe_splits({k: part > most for k, part in sizes.items()})
  return [
    f"{len(long):,} of {total:,} conversations are truncated to {most:,} "
    f"tokens: {by_split}"
  ]


def _with_answers(
  split: str, tokens: Sequence[ChatTokens], schema: ChatSchema
) -> list[ChatTokens]:
  """Returns the conversations that have scored tokens after truncation."""
  kept = [c for c in tokens if any(c.scored[1 : schema.max_length])]
  if not kept:
    raise UserError(
      f"expected answers within max_length={schema.max_length} tokens in "
      f"{split}",
      f"got {len(tokens)} conversations, all with longer questions",
      "increase max_length",
    )
  return kept


def _describe(
  tokens: Mapping[str, Sequence[ChatTokens]],
  packings: Mapping[str, Packing],
  schema: ChatSchema,
) -> list[str]:
  """Returns notes on the tokens, and on conversations without answers."""
  assert schema.tokenizer is not None
  sizes = []
  for split, packing in packings.items():
    scored = int(np.sum(packing.arrays[LABELS] != IGNORED))
    count = int(np.sum(packing.arrays["segment_ids"] > 0))
    sizes.append(f"{scored:,} of {count:,} of {split}")
  notes = [
    f"conversations by the template {schema.template!r}",
    f"tokens of {schema.tokenizer.kind!r} with {schema.vocab_size:,} ids; the "
    f"loss includes {', '.join(sizes)}; {packings['train'].padding:.2%} of the "
    "positions of train are padding",
  ]
  lost = {
    split: np.array([not any(c.scored[1 : schema.max_length]) for c in part])
    for split, part in tokens.items()
  }
  if any(mask.any() for mask in lost.values()):
    notes.append(
      "conversations without an answer within max_length were left out: "
      f"{describe_splits(lost)}"
    )
  return notes

"""The schema of conversations, and reading of new ones for prediction."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dlcore.data import json_fields
from dlcore.data.info import (
  IGNORED,
  LABELS,
  TOKENS,
  DataInfo,
  Inputs,
  ReadBatch,
)
from dlcore.data.text.chat_files import read_conversations
from dlcore.data.text.chat_template import (
  JINJA,
  LOSSES,
  TEMPLATES,
  ChatEncoder,
  ChatTokens,
  as_jinja,
)
from dlcore.data.text.corpus_schema import CorpusSchema, row_sizes
from dlcore.data.text.jinja_encoder import JinjaEncoder
from dlcore.data.text.jinja_template import JinjaTemplate
from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.data.text.packing import Packing, packed
from dlcore.data.text.ragged import Ragged
from dlcore.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChatSchema(CorpusSchema):
  """Schema of rows of whole conversations, see `packing.packed`."""

  kind: ClassVar[str] = "chat"
  consecutive: ClassVar[bool] = False

  parsers: ClassVar[Mapping[str, Any]] = {
    **CorpusSchema.parsers,
    "template": {name: name for name in (*TEMPLATES, JINJA)}.__getitem__,
    "jinja": json_fields.text,
    "named_tokens": json_fields.texts,
    "loss": {name: name for name in LOSSES}.__getitem__,
  }

  packing: str = "packed"

  template: str = "plain"
  """A key of `TEMPLATES`, or "jinja"."""

  jinja: str = ""
  """The template in Jinja, for that value."""

  named_tokens: Mapping[str, str] = dataclasses.field(default_factory=dict)
  """The special tokens that it names."""

  loss: str = "assistant"
  """Whether the messages of the "assistant" or "all" are scored."""

  @functools.cached_property
  def encoder(self) -> ChatEncoder | JinjaEncoder:
    """The encoder of conversations."""
    assert self.tokenizer is not None
    if self.template == JINJA:
      template = JinjaTemplate(self.jinja, self.named_tokens)
      return JinjaEncoder(template, self.tokenizer, self.loss)
    return ChatEncoder(self.template, self.tokenizer, self.loss)

  def chat_template(self) -> dict[str, Any]:
    """Returns the template in Jinja and the special tokens that it names.

    They are the arguments of `transfer.save_tokenizer`, none for "plain": the
    tokens of a whole text may be others than those of its parts.
    """
    if self.template == JINJA:
      return {"chat_template": self.jinja, "named_tokens": self.named_tokens}
    has_tokens = bool(TEMPLATES[self.template].end)
    if not has_tokens or not isinstance(self.tokenizer, LibraryTokenizer):
      return {}
    return {"chat_template": as_jinja(self.template)}

  @property
  def end_ids(self) -> tuple[int, ...]:
    """Ids behind an answer."""
    return (self.encoder.end_id,)

  def encode_prompt(self, prompt: str) -> list[int]:
    """Returns the ids of a message of the user, up to the answer's content."""
    return self.encoder.encode_prompt(prompt)

  def pack_conversations(self, conversations: Sequence[ChatTokens]) -> Packing:
    """Returns the rows of conversations, cut at `max_length`.

    They have the `num_characters` and `num_bytes` of the scored text.
    """
    ids, scored = [], []
    for conversation in conversations:
      ids.append(conversation.ids[: self.max_length])
      scored += conversation.scored[: self.max_length]
    packing = packed(
      *Ragged.of(ids),
      self.max_length,
      pad_id=self.pad_id,
      scored=np.array(scored, bool),
    )
    [end_id] = self.end_ids
    counts = np.array([_num_scored(c, end_id) for c in conversations])
    texts = [c.text for c in conversations]
    sizes = {
      "num_bytes": [len(text.encode("utf-8", "replace")) for text in texts],
      "num_characters": [len(text) for text in texts],
    }
    rows = {
      key: row_sizes(packing, np.array(size), counts, end_id)
      for key, size in sizes.items()
    }
    return packing._replace(arrays=packing.arrays | rows)

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads files of conversations, each of which is an example.

    Its labels are those that training scores, see `loss`.
    """
    kept = self.read_inputs(info.inputs)
    for path in paths:
      try:
        encoded = self._encoded(path)
        while part := list(itertools.islice(encoded, rows)):
          yield self._batch(part, kept)
      except UserError as error:
        yield ReadBatch([], None, [(str(path), "; ".join(error.lines))])

  def _encoded(self, path: Path) -> Iterator[tuple[str, ChatTokens | str]]:
    """Yields the name of each conversation, and its tokens or an error."""
    encode = self.encoder.encode
    for conversation in read_conversations(path):
      found: ChatTokens | str = conversation.error
      if not found:
        try:
          found = encode(conversation.messages)
        except UserError as error:
          found = "; ".join(error.lines)
      yield f"{path}:{conversation.line}", found

  def _batch(
    self, part: Sequence[tuple[str, ChatTokens | str]], kept: Inputs
  ) -> ReadBatch:
    """Returns the rows and the errors of some conversations."""
    good = [(name, found) for name, found in part if not isinstance(found, str)]
    errors = [(name, found) for name, found in part if isinstance(found, str)]
    if not good:
      return ReadBatch([], None, errors)
    names, conversations = zip(*good, strict=True)
    arrays = _unpacked(conversations, self.max_length, self.pad_id)
    return ReadBatch(list(names), {name: arrays[name] for name in kept}, errors)

  def validate(self, inputs: Inputs) -> None:
    """Checks that the tokenizer has the tokens of the template."""
    super().validate(inputs)
    if self.packing != "packed":
      raise ValueError(f"packing={self.packing!r} of conversations")
    try:
      _ = self.encoder
    except UserError as error:
      raise ValueError(f"template={self.template!r}: {error}") from error


def _num_scored(conversation: ChatTokens, end_id: int) -> int:
  """Returns the number of scored tokens without the ends, at least 1."""
  pairs = zip(conversation.ids, conversation.scored, strict=True)
  return max(1, sum(scored and id_ != end_id for id_, scored in pairs))


def _unpacked(
  conversations: Sequence[ChatTokens], length: int, pad_id: int
) -> dict[str, np.ndarray]:
  """Returns rows `[N, T]` of one conversation each, cut at T."""
  rows = np.arange(len(conversations))
  documents = Ragged.of(one.ids[:length] for one in conversations)
  ids, inside = documents.padded(rows, length, pad_id)
  positions = np.where(inside, np.arange(length), 0)
  following = Ragged.of(one.labels(length) for one in conversations)
  labels, _ = following.padded(rows, length, IGNORED)
  return {
    TOKENS: ids,
    LABELS: labels,
    "segment_ids": inside.astype(np.int32),
    "positions": positions.astype(np.int32),
  }

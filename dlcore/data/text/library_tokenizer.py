"""Tokenizers of tokenizer.json files, by the package `tokenizers`."""

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from dlcore.data import json_fields
from dlcore.data.text import tokenizer_checks
from dlcore.data.text import tokenizer_options as options
from dlcore.data.text.framing import Frame
from dlcore.data.text.tokenizer_options import TOKENIZER, TOKENIZER_CONFIG
from dlcore.errors import UserError, install_hint
from dlcore.filesystem import first_line, hub_cache, read_json

MAX_BYTES = 1 << 26
"""Size of a JSON file."""

BEGIN_TOKENS = ("<s>", "[CLS]", "<|begin_of_text|>", "<bos>", "<begin>")
END_TOKENS = (
  "</s>", "[SEP]", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<end>"
)  # fmt: skip
PAD_TOKENS = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>")
UNKNOWN_TOKENS = ("<unk>", "[UNK]", "<unknown>")
MASK_TOKENS = ("[MASK]", "<mask>")
NAMED = ("bos_token", "eos_token", "mask_token", "pad_token", "unk_token")
"""Entries of tokenizer_config.json that name a token."""

MAX_PROBES = 64
"""Tokens that are tried as a text that is known."""


@dataclasses.dataclass(frozen=True)
class LibraryTokenizer:
  """A byte-level BPE, WordPiece or Unigram tokenizer of the library."""

  kind: ClassVar[str] = "tokenizers"

  content: str = dataclasses.field(repr=False)
  """Text of the tokenizer.json, as the library writes it."""

  inner: Any = dataclasses.field(repr=False, compare=False)
  """The `tokenizers.Tokenizer`, without padding and truncation."""

  padding: int | None = dataclasses.field(default=None, compare=False)
  """Id of padding in the file, or None."""

  named: Mapping[str, int] = dataclasses.field(
    default_factory=dict, compare=False
  )
  """Ids of the tokens that tokenizer_config.json names, by a name of `NAMED`.
  They take precedence over those of common names."""

  @classmethod
  def parse(cls, content: bytes) -> Self:
    """Returns the tokenizer of a tokenizer.json, which is not trusted.

    Raises:
      ValueError: the content is invalid, or exceeds a limit.
      UserError: the package `tokenizers` is not installed.
    """
    inner = tokenizer_checks.parse(content, library())
    padding = inner.padding["pad_id"] if inner.padding else None
    return cls.of(inner, padding)

  @classmethod
  def of(
    cls,
    inner: Any,
    padding: int | None = None,
    named: Mapping[str, int] | None = None,
  ) -> Self:
    """Returns the tokenizer of a `tokenizers.Tokenizer`, which is changed."""
    inner.no_truncation()
    inner.no_padding()
    return cls(inner.to_str(), inner, padding, dict(named or {}))

  def extends(self, other: Self) -> bool:
    """Returns whether this is another tokenizer with added tokens."""
    mine, theirs = json.loads(self.content), json.loads(other.content)
    same = all(
      mine.get(part) == theirs.get(part)
      for part in ("model", "normalizer", "pre_tokenizer")
    )
    return same and other._ids.items() <= self._ids.items()

  @property
  def vocab_size(self) -> int:
    """Number of token ids, V."""
    return 1 + max(self._ids.values(), default=0)

  @property
  def size_without_added(self) -> int:
    """Number of token ids without those of added tokens."""
    ids = self.inner.get_vocab(with_added_tokens=False).values()
    return 1 + max(ids, default=-1)

  @functools.cached_property
  def _ids(self) -> dict[str, int]:
    return self.inner.get_vocab(with_added_tokens=True)

  @functools.cached_property
  def pad_id(self) -> int:
    """Id of padding, which is never the end of a text."""
    known = (self._named("pad"), self.padding, self._first(PAD_TOKENS), 0, 1)
    ids = (i for i in known if i is not None and i != self.eos_id)
    return next(i for i in ids if i < self.vocab_size)

  @property
  def unknown_id(self) -> int | None:
    """Id of unknown symbols, or None."""
    token = getattr(self.inner.model, "unk_token", None)
    if (named := self._named("unk")) is not None:
      return named
    return self._first((token, *UNKNOWN_TOKENS) if token else UNKNOWN_TOKENS)

  @property
  def bos_id(self) -> int | None:
    """Id of the begin of a text, or None."""
    if (named := self._named("bos")) is not None:
      return named
    before = self.frame(pair=False).before
    return before[0] if before else self._first(BEGIN_TOKENS)

  @functools.cached_property
  def eos_id(self) -> int | None:
    """Id of the end of a text, or None."""
    if "eos_token" in self.named:
      return self.named["eos_token"]
    after = self.frame(pair=False).after
    return after[-1] if after else self._first(END_TOKENS)

  @property
  def mask_id(self) -> int | None:
    """Id that takes the place of a masked token, or None."""
    named = self._named("mask")
    return self._first(MASK_TOKENS) if named is None else named

  @functools.cached_property
  def special_ids(self) -> tuple[int, ...]:
    """Ids that are not those of text, ascending."""
    ids = {
      *self.added_ids,
      self.unknown_id,
      self.bos_id,
      self.eos_id,
      self.mask_id,
    }
    ids |= {self.padding, self._first(PAD_TOKENS)}
    return tuple(sorted(i for i in ids if i is not None))

  @functools.cached_property
  def added_ids(self) -> frozenset[int]:
    """Ids of the special tokens that were added to the vocabulary."""
    added = self.inner.get_added_tokens_decoder()
    return frozenset(i for i, token in added.items() if token.special)

  def _first(self, tokens: Sequence[str]) -> int | None:
    """Returns the id of the first token that the vocabulary has."""
    return next((self._ids[t] for t in tokens if t in self._ids), None)

  def _named(self, role: str) -> int | None:
    """Returns the id that the settings name, unless it is that of the end.

    GPT-2 names the end for all roles.
    """
    id_ = self.named.get(f"{role}_token")
    return None if id_ == self.named.get("eos_token") else id_

  def frame(self, *, pair: bool) -> Frame:
    """Returns the special tokens that the file adds around texts."""
    return self._frames[pair]

  @functools.cached_property
  def _frames(self) -> tuple[Frame, Frame]:
    text = _known_text(self.inner)
    return _frame(self.inner, (text,)), _frame(self.inner, (text, text))

  def encode(self, text: str) -> list[int]:
    """Returns the ids of a text, without special tokens.

    Raises:
      UserError: the library fails, for example without an unknown token.
    """
    valid = _valid(text)
    return _call(lambda: self.inner.encode(valid, add_special_tokens=False).ids)

  def encode_as_text(self, text: str) -> list[int]:
    """Returns the ids of a text, in which `"</s>"` is no special token."""
    self.inner.encode_special_tokens = True
    try:
      return self.encode(text)
    finally:
      self.inner.encode_special_tokens = False

  def encode_with_offsets(
    self, text: str
  ) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns ids, and begin and end of each token among the characters.

    The texts of special tokens are these tokens.

    Raises:
      UserError: the library fails.
    """
    valid = _valid(text)
    found = _call(lambda: self.inner.encode(valid, add_special_tokens=False))
    return found.ids, found.offsets

  def token_id(self, token: str) -> int | None:
    """Returns the id of a token, None if the vocabulary lacks it."""
    return self._ids.get(token)

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of ids, without special tokens."""
    return _call(lambda: self.inner.decode(list(ids), skip_special_tokens=True))

  def to_file(self) -> bytes:
    """Returns the content of a tokenizer.json with the id of padding."""
    content = json.loads(self.content)
    token = self.inner.id_to_token(self.pad_id)
    content["padding"] = {
      "strategy": "BatchLongest",
      "direction": "Right",
      "pad_to_multiple_of": None,
      "pad_id": self.pad_id,
      "pad_type_id": 0,
      "pad_token": token,
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode()

  def to_json(self) -> dict[str, Any]:
    """Returns the tokenizer as JSON data."""
    content = json.loads(self.content)
    return {
      "kind": self.kind,
      "content": content,
      "padding": self.padding,
      "named": self.named,
    }

  @classmethod
  def from_json(cls, content: Mapping[str, Any]) -> Self:
    """Returns the tokenizer that `to_json` wrote; see `json_fields`."""
    tokenizer = cls.parse(json.dumps(content["content"]).encode())
    padding = content["padding"]
    if padding is not None:
      json_fields.count(padding)
    # Earlier versions did not write it.
    named = json_fields.parse("named", _named_ids, content.get("named", {}))
    if any(id_ >= tokenizer.vocab_size for id_ in named.values()):
      raise ValueError(f"named={named} of {tokenizer.vocab_size:,} ids")
    return dataclasses.replace(tokenizer, padding=padding, named=named)


def read_tokenizer(path: Path) -> LibraryTokenizer:
  """Reads a tokenizer.json and the tokenizer_config.json in its folder.

  Args:
    path: the file, or a folder that contains it.

  Raises:
    UserError: it is missing or invalid, contradicts tokenizer_config.json, or
      the package `tokenizers` is not installed.
  """
  file = path / TOKENIZER if os.path.isdir(path) else path
  content = _read_object(file)
  try:
    tokenizer = LibraryTokenizer.parse(json.dumps(content).encode())
  except ValueError as error:
    raise _unreadable(file, error) from error
  folder, named = file.parent, {}
  if file.name == TOKENIZER and os.path.exists(folder / TOKENIZER_CONFIG):
    settings = _read_object(folder / TOKENIZER_CONFIG)
    options.apply_normalization(tokenizer.inner, settings, folder)
    options.check_special_tokens(tokenizer.inner, settings, folder)
    ids = {n: options.token_id(tokenizer.inner, settings.get(n)) for n in NAMED}
    named = {name: id_ for name, id_ in ids.items() if id_ is not None}
  return LibraryTokenizer.of(tokenizer.inner, tokenizer.padding, named)


def _read_object(file: Path) -> dict[str, Any]:
  plain = hub_cache.followed(file, hub_cache.blobs(file.parent))
  try:
    return read_json(plain, max_bytes=MAX_BYTES, strict=True)
  except (OSError, ValueError) as error:
    raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> UserError:
  return UserError(
    f"expected a tokenizer in the plain file {file}",
    f"got: {getattr(error, 'strerror', None) or first_line(error)}",
    "train one by experiments/train_tokenizer.py, or with transformers by "
    "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)",
  )


def library() -> Any:
  """Returns the module `tokenizers`.

  Raises:
    UserError: it is not installed.
  """
  try:
    import tokenizers
  except ImportError:
    raise UserError(
      "expected the package tokenizers, which reads and trains tokenizers",
      "it is not installed",
      f"install it: {install_hint('hub')}",
    ) from None
  return tokenizers


def _frame(inner: Any, texts: Iterable[str]) -> Frame:
  """Returns the special tokens around some texts, which have no sequence id.

  Texts without tokens have none in front.
  """
  encoding = _call(lambda: inner.encode(*texts))
  parts: list[list[int]] = [[]]
  previous = None
  for token, part in zip(encoding.ids, encoding.sequence_ids, strict=True):
    if part is None:
      parts[-1].append(token)
    elif part != previous:
      parts.append([])
      previous = part
  pieces = [tuple(part) for part in parts]
  if len(pieces) == 1:
    return Frame(after=pieces[0])
  if len(pieces) == 2:
    return Frame(pieces[0], (), pieces[1])
  return Frame(pieces[0], pieces[1], pieces[2])


def _known_text(inner: Any) -> str:
  """Returns a text of at least one token, or "a"."""
  known = inner.get_vocab(with_added_tokens=False).values()
  ids = itertools.islice(sorted(known), MAX_PROBES)
  for text in ("a", *(inner.decode([id_]) for id_ in ids)):
    try:
      if inner.encode(text, add_special_tokens=False).ids:
        return text
    except Exception:  # As of the library: the text has an unknown word.
      continue
  return "a"


def _valid(text: str) -> str:
  """Returns a text with "?" in place of lone surrogates."""
  return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _named_ids(value: Any) -> dict[str, int]:
  return {
    name: json_fields.count(value[name]) for name in NAMED if name in value
  }


def _call(function: Any) -> Any:
  return tokenizer_checks.call(
    function,
    f"expected a {TOKENIZER} that encodes texts and decodes ids",
    "correct the file, or train another",
  )

"""Training of tokenizers by the package `tokenizers`."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.data.tables.text_lines import read_lines
from dlcore.data.text import tokenizer_checks
from dlcore.data.text.library_tokenizer import LibraryTokenizer, library
from dlcore.data.text.text_encoding import clean_text
from dlcore.data.text.text_files import MAX_TEXT, is_text_file, read_examples
from dlcore.errors import UserError, lookup

ROWS = 4096
"""Rows of a table that are read at a time."""

ALPHABET = 256
"""Symbols that byte-level BPE has before training."""


class SpecialTokens(NamedTuple):
  """The first ids of a vocabulary, from 0."""

  pad: str
  unknown: str
  begin: str
  end: str
  mask: str


SPECIAL = SpecialTokens("<pad>", "<unk>", "<s>", "</s>", "<mask>")
SPECIAL_OF_BERT = SpecialTokens("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class _Parts(NamedTuple):
  """A tokenizer before training."""

  inner: Any
  trainer: Any
  special: SpecialTokens


def train_tokenizer(
  texts: Iterable[str],
  *,
  kind: str = "bpe",
  vocab_size: int = 8_000,
  lowercase: bool = False,
) -> LibraryTokenizer:
  """Trains a tokenizer.

  Training byte-level BPE again gives the same tokenizer; WordPiece and Unigram
  may differ. So it is trained once and kept as a file.

  Args:
    texts: the training texts.
    kind: "bpe" of bytes (Radford et al. 2019), "wordpiece" (Devlin et al. 2019,
      arXiv:1810.04805) or "unigram" (Kudo 2018, arXiv:1804.10959).
    vocab_size: largest number of token ids, the special ones included.
    lowercase: whether texts are converted to lower case first.

  Raises:
    UserError: the kind is unknown, there is no text, `vocab_size` is too
      small for the texts or too large, or the package `tokenizers` is not
      installed.
  """
  make = lookup(KINDS, kind, "kind of tokenizer")
  least = len(SPECIAL) + (ALPHABET if kind == "bpe" else 1)
  if vocab_size <= least:
    raise UserError(
      f"expected vocab_size above {least:,} for {kind}", f"got {vocab_size:,}"
    )
  if vocab_size > tokenizer_checks.MAX_VOCAB:
    raise UserError(
      f"expected vocab_size of at most {tokenizer_checks.MAX_VOCAB:,}",
      f"got {vocab_size:,}",
    )
  texts = (clean_text(text) for text in texts)
  texts = (text for text in texts if text)
  first = next(texts, None)
  if first is None:
    raise UserError("expected texts to train on", "got none")
  module = library()
  inner, trainer, special = make(module, vocab_size)
  if lowercase:
    steps = [module.normalizers.Lowercase()]
    steps += [inner.normalizer] if inner.normalizer else []
    inner.normalizer = module.normalizers.Sequence(steps)
  texts = itertools.chain([first], texts)
  tokenizer_checks.call(
    lambda: inner.train_from_iterator(texts, trainer=trainer),
    f"expected texts from which {kind} learns {vocab_size:,} tokens",
    "increase vocab_size, or choose --kind=bpe",
  )
  begin, end = special.begin, special.end
  inner.post_processor = module.processors.TemplateProcessing(
    single=f"{begin} $A {end}",
    pair=f"{begin} $A {end} $B:1 {end}:1",
    special_tokens=[
      (token, inner.token_to_id(token)) for token in (begin, end)
    ],
  )
  return LibraryTokenizer.of(inner, inner.token_to_id(special.pad))


def read_training_texts(
  paths: Sequence[Path], column: str = ""
) -> Iterator[str]:
  """Yields the lines of text files, and the cells of a column of tables.

  Raises:
    UserError: a file is missing or malformed, or `column` is needed.
  """
  for path in paths:
    if is_text_file(path):
      yield from read_lines(path, MAX_TEXT)
      continue
    if not column:
      raise UserError(
        "expected a column of texts for a table",
        f"got none for {path}",
        "name it, or pass .txt files",
      )
    for examples, _ in read_examples(path, (column,), ROWS):
      yield from (text for _, (text,) in examples)


def _bpe(module: Any, vocab_size: int) -> _Parts:
  inner = module.Tokenizer(module.models.BPE())
  byte_level = module.pre_tokenizers.ByteLevel
  inner.pre_tokenizer = byte_level(add_prefix_space=False)
  inner.decoder = module.decoders.ByteLevel()
  trainer = module.trainers.BpeTrainer(
    vocab_size=vocab_size,
    special_tokens=list(SPECIAL),
    initial_alphabet=byte_level.alphabet(),
    show_progress=False,
  )
  return _Parts(inner, trainer, SPECIAL)


def _wordpiece(module: Any, vocab_size: int) -> _Parts:
  special = SPECIAL_OF_BERT
  inner = module.Tokenizer(module.models.WordPiece(unk_token=special.unknown))
  inner.normalizer = module.normalizers.BertNormalizer(lowercase=False)
  inner.pre_tokenizer = module.pre_tokenizers.BertPreTokenizer()
  inner.decoder = module.decoders.WordPiece()
  trainer = module.trainers.WordPieceTrainer(
    vocab_size=vocab_size, special_tokens=list(special), show_progress=False
  )
  return _Parts(inner, trainer, special)


def _unigram(module: Any, vocab_size: int) -> _Parts:
  inner = module.Tokenizer(module.models.Unigram())
  inner.normalizer = module.normalizers.NFKC()
  inner.pre_tokenizer = module.pre_tokenizers.Metaspace()
  inner.decoder = module.decoders.Metaspace()
  trainer = module.trainers.UnigramTrainer(
    vocab_size=vocab_size,
    special_tokens=list(SPECIAL),
    unk_token=SPECIAL.unknown,
    show_progress=False,
  )
  return _Parts(inner, trainer, SPECIAL)


KINDS: dict[str, Callable[[Any, int], _Parts]] = {
  "bpe": _bpe,
  "unigram": _unigram,
  "wordpiece": _wordpiece,
}
"""A tokenizer before training, by its kind."""

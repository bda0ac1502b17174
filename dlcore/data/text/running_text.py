"""Data sets of running text, for language models."""

from dlcore.data.source import Splits
from dlcore.data.split import split_paths
from dlcore.data.text import frozen
from dlcore.data.text.corpus import CorpusSettings, build_corpus
from dlcore.data.text.corpus_files import list_corpus_files, read_documents


def text_file(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  text: str = "text",
  tokenizer: str = "characters",
  vocab_size: int = 0,
  min_count: int = 1,
  lowercase: bool = False,
  documents: str = "file",
  packing: str = "contiguous",
  max_length: int = 128,
  duplicates: str = "keep",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
) -> Splits:
  """Loads running text: plain text, or JSON lines (each also .gz).

  Args:
    path: a file or a folder of such files, whose end is held out: the last
      `test_fraction` of the characters is test, what precedes it valid.
    train: the same for train only, in place of `path`.
    valid: a file or a folder; by default held out of train, as test.
    test: likewise.
    text: the key of the texts in JSON lines.
    tokenizer: "characters", "bytes", "words" or the path of a tokenizer.json,
      see `make_tokenizer`. It is fitted to train.
    vocab_size: largest number of ids of words or characters; 0 for any.
    min_count: least number of occurrences of a word or character.
    lowercase: whether texts are converted to lower case first.
    documents: whether a "file" (in JSON lines a line) or a "paragraph", which
      blank lines separate, is a document. The end of each of several documents
      is a token.
    packing: "contiguous" joins the documents and cuts them into rows that
      follow one another, for `data.sampling="sequential"`, and "packed" puts
      whole documents together in rows, see `packing.packed`.
    max_length: T, tokens of a row.
    duplicates: "remove" removes paragraphs that occur before.
    valid_fraction: share of the characters of train to hold out.
    test_fraction: likewise.

  Raises:
    UserError: a setting is out of range, a file is missing or malformed, or a
      split has no text.
  """
  settings = CorpusSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    documents=documents,
    packing=packing,
    max_length=max_length,
    duplicates=duplicates,
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )
  settings.check()
  paths = split_paths(path, train, valid, test)
  parts = {
    split: [
      document
      for file in list_corpus_files(at)
      for document in read_documents(file, text)
    ]
    for split, at in paths.items()
  }
  name = paths["train"].name
  return build_corpus(parts, settings, name=name, column=text)


def docs_text(
  *,
  tokenizer: str = "characters",
  vocab_size: int = 0,
  min_count: int = 1,
  lowercase: bool = False,
  packing: str = "contiguous",
  max_length: int = 128,
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
) -> Splits:
  """Loads the text of Python's documentation, without repeated paragraphs.

  The last tenth is test, the tenth before it valid. For the settings see
  `text_file`.
  """
  settings = CorpusSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    packing=packing,
    max_length=max_length,
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )
  settings.check()
  name = "docs_text"
  return build_corpus(
    {"train": [frozen.load_text(name)]},
    settings,
    name=name,
    notes=[frozen.origin(name)],
  )

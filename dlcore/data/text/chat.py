"""Loading of conversations, for language models that answer."""

from collections.abc import Mapping
from pathlib import Path

from dlcore.data import bad_examples
from dlcore.data.source import Splits
from dlcore.data.split import split_paths
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.chat_building import ChatSettings, build_conversations
from dlcore.data.text.chat_files import Conversation, read_conversations
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError


def chat(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  template: str = "auto",
  loss: str = "assistant",
  tokenizer: str = "bytes",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = False,
  max_length: int = 512,
  on_long: str = "truncate",
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  group: str = "",
  split: str = "",
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
) -> Splits:
  """Loads conversations, of which a language model learns the answers.

  A line of a file is a JSON object with `messages`, or as of ShareGPT or
  Alpaca, see `chat_files.read_conversations`. Whole conversations are put
  together in rows, as segments that do not see one another. Equal ones are in
  the same split, but for files of their own.

  Args:
    path: one file of JSON lines (also .gz), which is split by a hash of the
      conversations.
    train, valid, test: in place of `path`, a file for each split; missing ones
      are held out of train.
    template: `"auto"` is the chat template in the folder of the tokenizer, of
      its run, or the one of whose tokens it has all. `"plain"` writes the roles
      as text. `"chatml"` and `"llama3"` have tokens of their own for the roles,
      which the tokenizer needs to have. `"FILE.jinja"` is a file in Jinja.
    loss: `"assistant"`, whose tokens alone are predicted, or `"all"`.
    tokenizer: see `text_csv`, as for the next ones.
    vocab_size: likewise.
    min_count: likewise.
    lowercase: likewise.
    max_length: T, tokens of a row, and of a conversation at most.
    on_long: `"truncate"` cuts the end of longer ones, `"error"` lists them.
    on_bad: `"skip"` drops malformed lines, and conversations that the template
      refuses; `"error"` lists them.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    group, split: keys of each line, see `SplitSettings`.
    folds, fold, duplicates: see `SplitSettings`.

  Raises:
    UserError: a file or a line is missing or malformed, or the tokenizer lacks
      a token of the template.
  """
  rule = SplitSettings.of({**locals(), "time": "", "stratify": False})
  text = TextSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    max_length=max_length,
    on_long=on_long,
    splits=rule,
  )
  settings = ChatSettings(text, template, loss, on_bad)
  settings.check()
  paths = split_paths(path, train, valid, test)
  parts, notes = _read(paths, rule, on_bad)
  return build_conversations(parts, settings, paths, notes)


def _read(
  paths: Mapping[str, Path], rule: SplitSettings, on_bad: str
) -> tuple[dict[str, list[Conversation]], list[str]]:
  """Returns the conversations of each file, and a note on malformed lines."""
  special = [name for name in (rule.group, rule.split) if name]
  read = {
    part: list(read_conversations(path, special if part == "train" else ()))
    for part, path in paths.items()
  }
  for part, conversations in read.items():
    if not conversations:
      raise UserError(
        f"expected conversations in {paths[part]}", "got none: it is empty"
      )
  parts = {
    part: [c for c in conversations if not c.error]
    for part, conversations in read.items()
  }
  notes = bad_examples.report(
    [
      (f"{paths[part].name}:{c.line}", c.error)
      for part, conversations in read.items()
      for c in conversations
      if c.error
    ],
    on_bad,
    noun="bad lines",
    expected="expected a conversation in every line: messages, ShareGPT or "
    "Alpaca",
    remedy='fix them, or skip them with on_bad="skip"',
    empty=not all(parts.values()),
  )
  return parts, notes

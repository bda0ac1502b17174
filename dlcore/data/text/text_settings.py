"""The settings of a data set of texts."""

import os
from pathlib import Path
from typing import NamedTuple

from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.tokenizer import FITTED, OF_RUN, check_tokenizer
from dlcore.data.text.tokenizer_options import TOKENIZER, TOKENIZER_CONFIG
from dlcore.errors import UserError, check_choice

ON_LONG = ("truncate", "error")

LEAST_LENGTH = 8
"""Least `max_length`: room for special tokens and for two texts."""

MOST_LENGTH = 1 << 20
"""Largest `max_length`."""


class TextSettings(NamedTuple):
  """How texts become token ids, and the settings of the splits."""

  tokenizer: str = "words"
  """A kind, or the path of a tokenizer.json; see `make_tokenizer`."""

  vocab_size: int = 20_000
  min_count: int = 2
  lowercase: bool = False

  max_length: int = 512
  """Tokens of an example, special ones included, at most."""

  on_long: str = "truncate"
  """How to handle longer examples: "truncate" or "error"."""

  in_memory_limit: int = 2 << 30
  """Bytes of the padded token ids; a larger data set is streamed."""

  splits: SplitSettings = SplitSettings()

  def check(self) -> None:
    """Checks the settings, which need no data.

    Raises:
      UserError: one is out of range.
    """
    check_tokenizer(self.tokenizer, self.vocab_size, self.min_count)
    check_choice("on_long", self.on_long, ON_LONG)
    if not LEAST_LENGTH <= self.max_length <= MOST_LENGTH:
      raise UserError(
        f"expected max_length from {LEAST_LENGTH} to {MOST_LENGTH:,}",
        f"got {self.max_length}",
      )
    self.splits.check()

  def files(self) -> list[Path]:
    """Returns the files that decide the token ids, empty without any."""
    path = Path(os.path.expanduser(self.tokenizer))
    if self.tokenizer in FITTED or not os.path.exists(path):
      return []
    if not os.path.isdir(path):
      return [path]
    files = (path / TOKENIZER, path / TOKENIZER_CONFIG, path / OF_RUN)
    return [file for file in files if os.path.exists(file)]

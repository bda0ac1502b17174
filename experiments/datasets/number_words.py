"""Freezes numbers in English and French words, the file `number_words`.

  uv venv TEXTS && uv pip install --python TEXTS/bin/python num2words==0.5.14
  TEXTS/bin/python experiments/datasets/number_words.py

The hash of a number decides its split, so no number is in two splits. Train is
3% of the numbers below a million, and some round millions, which show the word
"million". The split "longer" has numbers below a billion with more words, in
both languages, than any number of train, and no other words.

`num2words` is under the LGPL. It makes the file and is no dependency of dlcore.
"""

import itertools
import re
from typing import NamedTuple

from freezing import require, share, write_table
from num2words import num2words  # pyright: ignore[reportMissingImports]

MILLION = 1_000_000
SIZES = {"train": 30_000, "valid": 2_000, "test": 5_000}
NUM_ROUND, NUM_LONGER = 300, 2_000


class Pair(NamedTuple):
  """A number in words."""

  number: int
  english: str
  french: str


def main() -> None:
  """Writes the numbers of every split."""
  require(num2words="0.5.14")
  numbers = iter(sorted(range(MILLION), key=lambda n: share(str(n))))
  splits = {
    split: list(itertools.islice(numbers, size))
    for split, size in SIZES.items()
  }
  plural = sorted(range(2, 1000), key=lambda n: share(str(n)))
  splits["train"] += [MILLION * n for n in (1, *plural[: NUM_ROUND - 1])]
  pairs = {split: list(map(words, part)) for split, part in splits.items()}
  pairs["longer"] = longer_than(pairs["train"])
  rows = [(*pair, split) for split, part in pairs.items() for pair in part]
  write_table("number_words", (*Pair._fields, "split"), rows)


def words(number: int) -> Pair:
  """Returns a number and its English and French words."""
  texts = (num2words(number, lang=language) for language in ("en", "fr"))
  return Pair(number, *texts)


def longer_than(train: list[Pair]) -> list[Pair]:
  """Returns pairs with more words than any of `train` in both languages."""
  english = max(count(pair.english) for pair in train)
  french = max(count(pair.french) for pair in train)
  shares = (share(f"longer {i}") for i in itertools.count())
  longer = (
    pair
    for pair in map(words, (int(1000 * MILLION * at) for at in shares))
    if count(pair.english) > english and count(pair.french) > french
  )
  return list(itertools.islice(longer, NUM_LONGER))


def count(text: str) -> int:
  """Returns the number of words, also of those joined by hyphens."""
  return len(re.findall(r"\w+", text))


if __name__ == "__main__":
  main()

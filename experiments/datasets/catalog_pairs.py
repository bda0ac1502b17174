"""Freezes translated messages of two programs, the file `catalog_pairs`.

  uv venv TEXTS && uv pip install --python TEXTS/bin/python \
    babel==2.19.0 django==5.2.8 jupyterlab-language-pack-fr-fr==4.5.post3
  TEXTS/bin/python experiments/datasets/catalog_pairs.py

The messages of Django and JupyterLab in English and French come from the
catalogues in these packages. Of a message with a plural the singular is taken.
"""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from babel.messages.mofile import (  # pyright: ignore[reportMissingImports]
  read_mo,
)
from freezing import require, write_table

PACKAGES = {
  "django": "django",
  "jupyterlab": "jupyterlab-language-pack-fr-fr",
}


def main() -> None:
  """Writes the distinct pairs in the order of their packages and files."""
  require(
    babel="2.19.0",
    django="5.2.8",
    **{"jupyterlab-language-pack-fr-fr": "4.5.post3"},
  )
  rows = {}
  for source, package in PACKAGES.items():
    before = len(rows)
    for path in catalogs(package):
      for english, french in messages(path):
        rows.setdefault(english, (english, french, source))
    print(f"{len(rows) - before:,} pairs of {source}")
  write_table("catalog_pairs", ("english", "french", "source"), rows.values())


def catalogs(package: str) -> list[Path]:
  """Returns the French catalogues that a package contains."""
  files = metadata.files(package) or ()
  return sorted(
    Path(str(file.locate()))
    for file in files
    if file.suffix == ".mo" and {"fr", "fr_FR"} & set(file.parts)
  )


def messages(path: Path) -> Iterator[tuple[str, str]]:
  """Yields the messages of a catalogue that have a translation."""
  with path.open("rb") as file:
    catalog = read_mo(file)
  for message in catalog:
    pair = [singular(message.id), singular(message.string)]
    english, french = (" ".join(text.split()) for text in pair)
    if english and french and english != french:
      yield english, french


def singular(message: str | tuple[str, ...]) -> str:
  """Returns a message, the first of its forms if it has a plural."""
  return message if isinstance(message, str) else message[0]


if __name__ == "__main__":
  main()

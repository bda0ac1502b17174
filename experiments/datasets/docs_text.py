"""Freezes the text of Python's documentation, the file `docs_text`.

  python3.13 experiments/datasets/docs_text.py

It consists of the topics of `help()` in Python 3.13.0, `pydoc_data.topics`, in
their order. Of equal paragraphs only the first is kept: topics repeat one
another, and a paragraph of the last tenth would be known from the rest.
"""

import platform
import re
from pydoc_data.topics import topics

from freezing import write

VERSION = "3.13.0"


def main() -> None:
  """Writes the text and prints the share of repeated paragraphs."""
  if platform.python_version() != VERSION:
    raise SystemExit(
      f"expected Python {VERSION}\ngot {platform.python_version()}"
    )
  paragraphs = [
    paragraph.rstrip()
    for topic in topics.values()
    for paragraph in re.split(r"\n\s*\n", topic.strip("\n"))
    if paragraph.strip()
  ]
  # Equal but for line breaks and indentation.
  distinct = {}
  for paragraph in paragraphs:
    distinct.setdefault(" ".join(paragraph.split()), paragraph)
  text = "\n\n".join(distinct.values()) + "\n"
  write("docs_text.txt", text)
  copies = len(paragraphs) - len(distinct)
  size = sum(map(len, topics.values()))
  print(f"{copies:,} of {len(paragraphs):,} paragraphs were copies")
  print(f"{len(text):,} of {size:,} characters are left")


if __name__ == "__main__":
  main()

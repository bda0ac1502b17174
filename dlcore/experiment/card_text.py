"""Markdown and YAML of a model card, in which strings of users are data."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

MAX_LENGTH = 200
"""Characters of a string."""


def front_matter(entries: Mapping[str, Any]) -> str:
  """Returns a block of YAML without the entries that are empty."""
  known = {key: value for key, value in entries.items() if value}
  text = yaml.safe_dump(
    known, allow_unicode=True, sort_keys=False, default_flow_style=False
  )
  return f"---\n{text}---\n"


def code(value: object) -> str:
  """Returns a string as a code span, in which Markdown and HTML are text."""
  text = " ".join(str(value).split())
  text = "".join(
    c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
  )
  text = text[:MAX_LENGTH] + "..." * (len(text) > MAX_LENGTH)
  if not text:
    return "(empty)"
  fence = "`" * (_longest_run(text) + 1)
  space = " " if text.startswith("`") or text.endswith("`") else ""
  return f"{fence}{space}{text}{space}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """Returns a table of cells of Markdown, of which the first is text."""

  def line(cells: Sequence[str]) -> str:
    # A pipe ends a cell even in a code span.
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"

  rule = ["---", *("---:" for _ in head[1:])]
  return "\n".join([line(head), line(rule), *map(line, rows)])


def facts(pairs: Mapping[str, str]) -> str:
  """Returns a list of names and values, without the empty ones."""
  return "\n".join(f"- {key}: {text}" for key, text in pairs.items() if text)


def fenced(language: str, content: str) -> str:
  """Returns a block of code."""
  fence = "`" * max(3, _longest_run(content) + 1)
  return f"{fence}{language}\n{content}\n{fence}"


def base_name(path: str) -> str:
  """Returns the last part of a path of any system."""
  parts = [part for part in re.split(r"[\\/]", path) if part]
  return parts[-1] if parts else path


def _longest_run(text: str) -> int:
  """Returns the length of the longest run of backticks."""
  return max(map(len, re.findall("`+", text)), default=0)

"""Markdown tables of the README."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple


class Table(NamedTuple):
  """A table of one measurement; calling it with a result formats it."""

  caption: str
  """May have keys of the result in braces."""

  command: str
  head: Sequence[str]
  rows: Callable[[dict], Iterable[Sequence]]

  def __call__(self, result: dict) -> str:
    """Returns the table, with the machine and date in its caption."""
    caption = f"{self.caption.format_map(result)}, {measured(result)}:"
    return as_table(caption, self.command, self.head, self.rows(result))


def as_table(
  caption: str, command: str, head: Sequence, rows: Iterable[Sequence]
) -> str:
  """Returns a table below its caption and the command that measures it."""
  lines = [head, ["---"] * len(head), *rows]
  table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
  return f"{caption} (`{command}`)\n\n{table}"


def measured(*results: dict) -> str:
  """Returns machines, dates and commits of measurements, as far as known."""

  def distinct(key: str) -> str:
    values = [result[key] for result in results if result.get(key)]
    return ", ".join(dict.fromkeys(", ".join(values).split(", ")))

  machines = dict.fromkeys(r["machine"] for r in results if r.get("machine"))
  parts = ["; ".join(machines), distinct("date")]
  if commits := distinct("commit"):
    parts.append(f"commit {commits}")
  return ", ".join(part for part in parts if part) or "version 0.1"


def is_ratio(result: dict, name: str) -> bool:
  """Returns whether an entry is a comparison of two times."""
  return isinstance(result[name], dict) and "ratio" in result[name]


def ratio(row: dict) -> tuple[str, str]:
  """Returns the median of a comparison, and its range."""
  return f"{row['ratio']:.2f}", f"{row['least']:.2f} to {row['most']:.2f}"


def verdict(comparison: dict | None) -> str:
  """Returns the outcome of a comparison, or "" without one."""
  if comparison is None:
    return ""
  low, high = (100 * value for value in comparison["interval"])
  gain = 100 * comparison["difference"]
  return f"{comparison['outcome']}: {gain:+.2f} ({low:+.2f} to {high:+.2f})"

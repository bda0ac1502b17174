"""Tables as the README has them."""

from collections.abc import Iterable, Sequence


def as_table(
  words: str, made_by: str, head: Sequence, rows: Iterable[Sequence]
) -> str:
  """Returns a table under some words and the command that makes it."""
  lines = [head, ["---"] * len(head), *rows]
  table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
  return f"{words} (`{made_by}`)\n\n{table}"


def is_ratio(result: dict, name: str) -> bool:
  """Tells whether an entry is a comparison of two times."""
  return isinstance(result[name], dict) and "ratio" in result[name]


def ratio(row: dict) -> tuple[str, str]:
  """Returns the median of a comparison, and its range."""
  return f"{row['ratio']:.2f}", f"{row['least']:.2f} to {row['most']:.2f}"

"""Numbers in text: decimal commas, thousands, percent, currencies, booleans."""

import re
from collections.abc import Callable, Iterable

BOOLEANS = {
  "true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0, "y": 1.0, "n": 0.0,
  "t": 1.0, "f": 0.0, "on": 1.0, "off": 0.0,
}  # fmt: skip
"""Numbers of the texts of a boolean column, in lower case."""

PAIRS = tuple(zip(*[iter(BOOLEANS)] * 2, strict=True))
"""The two texts that a boolean column may have."""

_GROUP = "'\u2019 \u00a0\u202f"
"""Separators of thousands besides comma and point."""

_PATTERNS = {
  decimal: re.compile(
    rf"[+-]?([1-9]\d{{0,2}}(?:[{other}{_GROUP}]\d{{3}})+|\d*)"
    rf"([{decimal}]\d*)?(e[+-]?\d+)?",
    re.ASCII | re.IGNORECASE,
  )
  for decimal, other in ((".", ","), (",", "."))
}

_UNIT = re.compile(r"[$€£¥]|%$")


def dot_number(text: str) -> float | None:
  """Returns the number in text such as "1,234.5", "12%" or "$3"."""
  return _parse(text, ".")


def comma_number(text: str) -> float | None:
  """Returns the number in text such as "1.234,5", "12,5 %" or "3 €"."""
  return _parse(text, ",")


def boolean(text: str) -> float | None:
  """Returns 1 for "yes" and "true", 0 for "no" and "false", in any case."""
  return BOOLEANS.get(text.lower())


NUMBER_FORMATS: dict[str, Callable[[str], float | None]] = {
  ".": dot_number,
  ",": comma_number,
  ",.": comma_number,
  "boolean": boolean,
}
"""Functions from a text to a number, or None, by the name of the format. In a
column of the format ",." a point separates thousands in plain numbers too."""


def _parse(text: str, decimal: str) -> float | None:
  body = _UNIT.sub("", text.replace("\u2212", "-").strip()).strip()
  match = _PATTERNS[decimal].fullmatch(body)
  if match is None or not any(map(str.isdigit, body)):
    return None
  fraction = (match[2] or "").replace(decimal, ".")
  whole = re.sub(r"[^\d]", "", match[1])
  if not whole and fraction in ("", "."):
    return None
  sign = "-" if body.startswith("-") else ""
  value = float(f"{sign}{whole or '0'}{fraction}{match[3] or ''}")
  return value / 100 if text.endswith("%") else value


def has_grouped_points(texts: Iterable[str]) -> bool:
  """Returns whether a text has a point as separator of thousands."""
  return any(re.search(r"\d\.\d{3}(\D|$)", text) for text in texts)


def is_boolean(texts: Iterable[str]) -> bool:
  """Returns whether texts are those of one pair such as "yes" and "no"."""
  lower = {text.lower() for text in texts}
  return any(lower <= set(pair) for pair in PAIRS)

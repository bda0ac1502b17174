"""HTML in which forgetting to escape is impossible, and numbers as text."""

import html
import math
from collections.abc import Sequence

VOID = ("img", "meta")
LONGEST = 2000
SHORT = {"r2": "R\N{SUPERSCRIPT TWO}"} | {
  name: name.upper() for name in ("f1", "rmse", "mae", "mse")
}


class Markup(str):
  """Text that is HTML already; every other string gets escaped."""

  __slots__ = ()


def join(*children: object) -> Markup:
  """Concatenates `children`, escaping what is not `Markup`."""
  return Markup(
    "".join(
      child if isinstance(child, Markup) else html.escape(str(child)[:LONGEST])
      for child in children
    )
  )


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
  """Returns an element: `tag("td", "a < b", class_="x")`.

  Args:
    name: of the element.
    *children: its content, see `join`.
    **attributes: `_` stands for `-`, a trailing `_` is dropped, and so is an
      attribute that is None.
  """
  inside = "".join(
    f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
    for key, value in attributes.items()
    if value is not None
  )
  end = "" if name in VOID else f"{join(*children)}</{name}>"
  return Markup(f"<{name}{inside}>{end}")


def section(title: str, *children: object) -> Markup:
  """Returns a part of the page under its title."""
  return tag("section", tag("h2", title), *children)


def facts(pairs: Sequence[tuple[str, object]], class_: str = "facts") -> Markup:
  """Returns a list of names and values."""
  rows = [tag("div", tag("dt", k), tag("dd", v)) for k, v in pairs]
  return tag("dl", *rows, class_=class_)


def table(
  head: Sequence[object], rows: Sequence[Sequence[object]], words: int = 1
) -> Markup:
  """Returns a table of numbers whose first `words` columns are words."""

  def cells(name: str, row: Sequence[object]) -> Markup:
    return tag(
      "tr",
      *(
        tag(name, cell, class_="word" if i < words else None)
        for i, cell in enumerate(row)
      ),
    )

  body = [cells("td", row) for row in rows]
  inner = tag("table", tag("thead", cells("th", head)), tag("tbody", *body))
  return tag("div", inner, class_="scroll")


def number(value: float) -> str:
  """Returns about four digits of `value`: `0.3124`, `21,000`, `1e-5`."""
  if not math.isfinite(value):
    return "not finite"
  if abs(value) >= 1e15:
    return minus(f"{value:.3e}".replace("e+", "e"))
  if value == int(value) or abs(value) >= 1000:
    return minus(f"{value:,.0f}")
  return minus(f"{value:.4g}".replace("e-0", "e-"))


def minus(number: str) -> str:
  """Returns the number with a minus as wide as its digits, not a hyphen."""
  return number.replace("-", "\N{MINUS SIGN}")


def is_share(metric: str) -> bool:
  """Says whether a metric of that name is read as a percentage."""
  return "accuracy" in metric or metric in ("precision", "recall", "f1")


def measure(metric: str, value: float, digits: int = 2) -> str:
  """Returns the value of a metric: `98.89%` or `0.3124`."""
  if is_share(metric) and math.isfinite(value) and abs(value) <= 1:
    return f"{100 * value:.{digits}f}%"
  return number(value)


def duration(seconds: float) -> str:
  """Returns a time as one reads it: `0.31 s`, `12.3 s`, `3 min 20 s`."""
  if not math.isfinite(seconds) or seconds < 0:
    return "unknown"
  if seconds < 60:
    return f"{seconds:.{2 if seconds < 1 else 1}f} s"
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def words(name: str) -> str:
  """Returns an identifier as words: `learning_rate` as `learning rate`."""
  return SHORT.get(name, name.replace("_", " "))

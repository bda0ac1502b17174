"""HTML whose text is always escaped, and numbers as text."""

import html
import math
from collections.abc import Sequence

VOID = ("img", "meta")
MAX_LENGTH = 2000


class Markup(str):
  """Text that is already HTML; every other string is escaped."""

  __slots__ = ()


def join(*children: object) -> Markup:
  """Concatenates `children`, escaping those that are not `Markup`."""
  return Markup(
    "".join(
      child
      if isinstance(child, Markup)
      else html.escape(str(child)[:MAX_LENGTH])
      for child in children
    )
  )


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
  """Returns an element: `tag("td", "a < b", class_="x")`.

  Args:
    name: of the element.
    *children: its content, see `join`.
    **attributes: `_` becomes `-` and a trailing `_` is dropped; an attribute
      whose value is None is omitted.
  """
  inside = "".join(
    f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
    for key, value in attributes.items()
    if value is not None
  )
  end = "" if name in VOID else f"{join(*children)}</{name}>"
  return Markup(f"<{name}{inside}>{end}")


def section(title: str, *children: object) -> Markup:
  """Returns a section of the page with its heading."""
  return tag("section", tag("h2", title), *children)


def facts(pairs: Sequence[tuple[str, object]], class_: str = "facts") -> Markup:
  """Returns a list of names and values."""
  rows = [tag("div", tag("dt", k), tag("dd", v)) for k, v in pairs]
  return tag("dl", *rows, class_=class_)


def table(
  head: Sequence[object],
  rows: Sequence[Sequence[object]],
  text_columns: int = 1,
) -> Markup:
  """Returns a table of numbers, whose first `text_columns` hold text."""

  def cells(name: str, row: Sequence[object]) -> Markup:
    return tag(
      "tr",
      *(
        tag(name, cell, class_="text" if i < text_columns else None)
        for i, cell in enumerate(row)
      ),
    )

  body = [cells("td", row) for row in rows]
  inner = tag("table", tag("thead", cells("th", head)), tag("tbody", *body))
  return tag("div", inner, class_="scroll")


def format_number(value: float) -> str:
  """Returns about four digits of `value`: `0.3124`, `21,000`, `1e-5`."""
  if not math.isfinite(value):
    return "not finite"
  if abs(value) >= 1e15:
    return with_minus(f"{value:.3e}".replace("e+", "e"))
  if value == int(value) or abs(value) >= 1000:
    return with_minus(f"{value:,.0f}")
  return with_minus(f"{value:.4g}".replace("e-0", "e-"))


def with_minus(text: str) -> str:
  """Returns `text` with minus signs, as wide as digits, for hyphens."""
  return text.replace("-", "\N{MINUS SIGN}")


def format_duration(seconds: float) -> str:
  """Returns a duration: `0.31 s`, `12.3 s`, `3 min 20 s`, `2 h 5 min`."""
  if not math.isfinite(seconds) or seconds < 0:
    return "unknown"
  if seconds < 60:
    return f"{seconds:.{2 if seconds < 1 else 1}f} s"
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def humanize(name: str) -> str:
  """Returns an identifier as words: `learning_rate` as `learning rate`."""
  return name.replace("_", " ")

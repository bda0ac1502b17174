"""Examples of features on the page: similar pairs and nearest neighbors."""

import numpy as np

from dlcore.report import markup, png, texts
from dlcore.report.feature_content import FeaturePage
from dlcore.report.markup import Markup, tag
from dlcore.representation import Neighbors

MAX_PAIRS = 16
MAX_QUERIES = 10
MAX_SHOWN = {"images": 8, "texts": 4}
"""Neighbors of an example."""


def queries(page: FeaturePage) -> Markup | None:
  """Returns the queries with their nearest examples."""
  if not page.queries:
    return None
  rows = [
    _neighbors(
      page,
      ("query", query, page.show_query(query)),
      Neighbors(near.index[0], near.similarity[0]),
    )
    for query, near in page.queries[:MAX_QUERIES]
  ]
  return markup.section(
    "Queries", tag("p", "By cosine similarity.", class_="note"), *rows
  )


def neighbors(page: FeaturePage) -> Markup | None:
  """Returns some examples with their nearest ones."""
  if len(page.names) < 2:
    return None
  rows = [
    _neighbors(
      page,
      (_class(page, row) or "example", page.names[row], page.show(row)),
      near,
      own=_class(page, row),
    )
    for row, near in page.neighbors
  ]
  return markup.section("Nearest neighbors", _legend(page), *rows)


def similar(page: FeaturePage) -> Markup | None:
  """Returns the most similar pairs."""
  if len(page.names) < 2:
    return None
  title = "Near duplicates"
  if page.pairs is None:
    note = "All pairs of so many examples are compared if duplicates is set."
    return markup.section(title, tag("p", note, class_="note"))
  first, second, similarity, total = page.pairs
  at_least = f"cosine similarity of at least {page.threshold:g}"
  if not total:
    note = f"No pair has a {at_least}."
    return markup.section(title, tag("p", note, class_="note"))
  verb, noun = ("has", "pair") if total == 1 else ("have", "pairs")
  note = f"{total:,} {noun} {verb} a {at_least}"
  note += f"; the first {MAX_PAIRS} are shown." if total > MAX_PAIRS else "."
  pairs = [
    _pair(page, *pair)
    for pair in zip(
      first.tolist()[:MAX_PAIRS],
      second.tolist(),
      similarity.tolist(),
      strict=False,
    )
  ]
  style = "pairs" if page.noun == "images" else "texts"
  return markup.section(
    title, tag("p", note, class_="note"), tag("dl", *pairs, class_=style)
  )


def _legend(page: FeaturePage) -> Markup:
  note = "By cosine similarity"
  if page.classes:
    note += "; orange marks another class"
  return tag("p", f"{note}.", class_="note")


def _pair(
  page: FeaturePage, first: int, second: int, similarity: float
) -> Markup:
  rows = (first, second)
  labels = [_class(page, row) for row in rows]
  differ = labels[0] != labels[1]
  heading = markup.join(_score(similarity))
  if any(labels):
    text = " \N{MIDDLE DOT} ".join(labels) if differ else labels[0]
    heading = markup.join(heading, tag("small", text, class_=_style(differ)))
  shown = [tag("div", _content(page.show(i), page.names[i])) for i in rows]
  return tag("div", tag("dt", heading), tag("dd", *shown))


def _neighbors(
  page: FeaturePage,
  example: tuple[str, str, np.ndarray | str],
  near: Neighbors,
  own: str = "",
) -> Markup:
  """Returns an example with its neighbors.

  Args:
    page: see `feature_page.FeaturePage`.
    example: heading, name, and image or text.
    near: its neighbors `[K]`.
    own: its class, "" if it is unknown.
  """
  heading, name, content = example
  pairs = zip(near.index.tolist(), near.similarity.tolist(), strict=True)
  rows = [
    (_heading(page, row, value, own), page.show(row), page.names[row])
    for row, value in list(pairs)[: MAX_SHOWN[page.noun]]
  ]
  rows.insert(0, (tag("b", heading), content, name))
  if page.noun == "texts":
    shown = [(title, _text(str(text))) for title, text, _ in rows]
    return tag("div", texts.text_list(shown), class_="near")
  cards = [
    tag("figure", _content(image, path), tag("figcaption", title))
    for title, image, path in rows
  ]
  return tag("div", *cards, class_="similar")


def _heading(page: FeaturePage, row: int, value: float, own: str) -> Markup:
  label = _class(page, row)
  style = _style(bool(own) and label != own)
  parts = [tag("span", label, class_=style)] if label else []
  return markup.join(*parts, tag("small", _score(value)))


def _style(differs: bool) -> str | None:
  return "valid" if differs else None


def _score(value: float) -> str:
  return markup.with_minus(f"{value:.3f}")


def _class(page: FeaturePage, row: int) -> str:
  label = int(page.labels[row])
  return page.classes[label] if label >= 0 else ""


def _content(content: np.ndarray | str, name: str) -> Markup:
  if isinstance(content, str):
    return _text(content)
  picture = png.data_uri(png.thumbnail(content))
  return tag("img", src=picture, alt="", title=name)


def _text(text: str) -> Markup:
  return texts.text_excerpt(text)

"""Attention weights of a few examples, as heat maps between tokens."""

import numpy as np

from dlcore.report import markup, png
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run
from dlcore.report_arrays import MAX_ATTENDED

MAX_EXAMPLES = 8
MAX_MAPS = 8
COLOR = (37, 99, 235)

NOTE = (
  f"Rows attend to columns, for at most the first {MAX_ATTENDED} tokens. The "
  "opacity is the square root of the weight, so that small weights are visible."
)
HEADS = (
  " The first and the last layer are shown, with the heads whose weights are "
  "the least spread."
)


def attention(run: Run) -> Markup:
  """Returns the attention maps of some examples."""
  arrays = run.arrays
  titles = arrays["attention_map"].tolist()[:MAX_MAPS]
  examples = zip(
    arrays["attention_weight"][:MAX_EXAMPLES],
    arrays["attention_query"].tolist(),
    arrays["attention_key"].tolist(),
    strict=False,
  )
  groups = [
    tag("div", *_maps(titles, *example), class_="heads scroll")
    for example in examples
  ]
  note = NOTE + (HEADS if len(titles) > 1 else "")
  return markup.section(
    f"Attention, {run.split}",
    tag("p", note, class_="note"),
    tag("div", *groups, class_="attention"),
  )


def _maps(
  titles: list[str], weights: np.ndarray, queries: list[str], keys: list[str]
) -> list[Markup]:
  """Returns the maps of an example; labels are empty after its end."""
  queries, keys = (list(filter(None, labels)) for labels in (queries, keys))
  if not queries or not keys:
    return []
  return [
    _map(title, weight[: len(queries), : len(keys)], queries, keys)
    for title, weight in zip(titles, weights, strict=False)
  ]


def _map(
  title: str, weight: np.ndarray, queries: list[str], keys: list[str]
) -> Markup:
  """Returns a heat map of weights `[T, S]`, with its labels."""
  pixels = np.empty((*weight.shape, 4), np.uint8)
  pixels[..., :3] = COLOR
  share = np.sqrt(np.clip(weight.astype(np.float32), 0, 1))
  pixels[..., 3] = np.rint(255 * share)
  columns = [
    tag("span", key, title=key, class_="upright" if len(key) == 1 else None)
    for key in keys
  ]
  rows = [tag("span", query, title=query) for query in queries]
  return tag(
    "figure",
    tag("figcaption", title) if title else "",
    tag("div", *columns, class_="columns"),
    tag("div", *rows, class_="rows"),
    tag("img", src=png.data_uri(pixels), alt="attention weights"),
    style=f"--columns:{len(keys)};--rows:{len(queries)}",
  )

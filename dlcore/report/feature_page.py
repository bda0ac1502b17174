"""The page about features: map, classes, probes, near duplicates, neighbors."""

from pathlib import Path

import numpy as np

from dlcore.report import classes as class_errors
from dlcore.report import feature_examples, markup
from dlcore.report.count_table import count_table
from dlcore.report.feature_content import FeaturePage
from dlcore.report.feature_map import MAX_POINTS, feature_map
from dlcore.report.markup import Markup, tag
from dlcore.report.page import write_sections
from dlcore.representation import ProbeResults

MAX_ERRORS = 20


def write_feature_page(output: Path, page: FeaturePage) -> Path:
  """Writes the page, and returns its path.

  Raises:
    UserError: the file cannot be written.
  """
  title = f"Features of {len(page.names):,} {page.noun}"
  sections = [
    _head(page, title),
    feature_examples.queries(page),
    _map(page),
    _labels(page),
    feature_examples.similar(page),
    feature_examples.neighbors(page),
    _errors(page),
  ]
  return write_sections(output, title, [*filter(None, sections)])


def _head(page: FeaturePage, title: str) -> Markup:
  """Returns the title, the accuracy of the linear probe, and the sizes."""
  parts = [tag("h1", title), tag("p", page.model, class_="note")]
  if page.probes and page.probes.probes:
    linear = page.probes.probes[0]
    name = tag("span", f"accuracy of a {linear.name}")
    parts.append(tag("p", name, f"{linear.accuracy:.1%}", class_="headline"))
  pairs: list[tuple[str, object]] = [
    (page.noun, f"{len(page.names):,}"),
    ("width", f"{page.width:,}"),
  ]
  if page.classes:
    pairs.append(("classes", f"{len(page.classes):,}"))
  if page.errors:
    pairs.append(("left out", f"{len(page.errors):,}"))
  sizes = tag("section", markup.facts(pairs, "tiles"))
  return markup.join(tag("header", *parts), sizes)


def _map(page: FeaturePage) -> Markup | None:
  if len(page.names) < 2:
    return None
  note = "Principal components of the features. Point at a dot for its name."
  if len(page.names) > MAX_POINTS:
    note += f" {MAX_POINTS:,} of the {page.noun} are shown."
  return markup.section(
    "Map",
    tag("p", note, class_="note"),
    feature_map(page.projection, page.names, page.labels, page.classes),
  )


def _labels(page: FeaturePage) -> Markup | None:
  """Returns the sizes of the classes, and the probes."""
  if not page.classes:
    return None
  counts = np.bincount(
    page.labels[page.labels >= 0], minlength=len(page.classes)
  )
  parts: list[Markup | None] = [
    count_table(page.noun, page.classes, {page.noun: counts})
  ]
  content: list[Markup] = []
  results = page.probes
  if results is not None and results.probes:
    content.append(_accuracies(results))
    present = np.unique(results.labels)
    label, predicted = (
      np.searchsorted(present, array)
      for array in (results.labels, results.probes[0].predictions)
    )
    names = [page.classes[int(i)] for i in present]
    parts.append(class_errors.confusion(label, predicted, names))
  content.append(tag("div", *filter(None, parts), class_="charts"))
  if results is not None and results.remarks:
    remarks = [tag("li", remark) for remark in results.remarks]
    content.append(tag("div", tag("ul", *remarks), class_="notes"))
  return markup.section("Classes", *content)


def _accuracies(results: ProbeResults) -> Markup:
  """Returns a table of the accuracies."""
  rows: list[list[object]] = [
    [p.name, f"{p.accuracy:.1%}", f"{p.interval[0]:.1%} to {p.interval[1]:.1%}"]
    for p in results.probes
  ]
  rows.append(["most frequent class", f"{results.trivial:.1%}", ""])
  strengths = sorted(set(results.strengths))
  listed = ", ".join(markup.format_number(value) for value in strengths)
  note = (
    f"{results.folds}-fold cross-validation of {len(results.rows):,} examples. "
    "The linear probe is a logistic regression to standardized features; its "
    f"L2 strength, chosen in the training folds: {listed}."
  )
  caption = tag("figcaption", tag("b", "probes"))
  table = markup.table(["", "accuracy", "95% interval"], rows)
  below = tag("p", note, class_="below")
  return tag("figure", caption, table, below, class_="probes")


def _errors(page: FeaturePage) -> Markup | None:
  if not page.errors:
    return None
  items = [
    tag("li", f"{name}: {reason}") for name, reason in page.errors[:MAX_ERRORS]
  ]
  if len(page.errors) > MAX_ERRORS:
    items.append(tag("li", f"and {len(page.errors) - MAX_ERRORS:,} more"))
  return markup.section("Left out", tag("ul", *items))

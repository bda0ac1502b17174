"""Writes the page: one HTML file about a run, or several, without links."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dlcore import storage
from dlcore.errors import UserError
from dlcore.report import (
  classes,
  comparison,
  comparison_curves,
  convolutions,
  curves,
  data_overview,
  equal_budgets,
  groups,
  heat_maps,
  interval_plot,
  layer_curves,
  markup,
  mistakes,
  named_arrays,
  overview,
  paired_tests,
  phase_table,
  residuals,
  run,
  samples,
  strategy_verdict,
)
from dlcore.report.markup import Markup, tag
from dlcore.report_arrays import (
  BY_CLASS,
  BY_POSITION,
  CLASSES,
  HISTOGRAM,
  NUMBERS,
)


class Section(NamedTuple):
  """A section of the page about a run."""

  make: Callable[[run.Run], Markup | None]
  """Returns the section, or None if the run lacks its content."""

  arrays: tuple[str, ...] = ()
  """The arrays that a run must have kept, by name, or by a prefix that ends
  with a slash; see `dlcore.report_arrays`."""


SECTIONS = (
  Section(overview.head),
  Section(overview.results),
  Section(data_overview.data),
  Section(curves.curves),
  Section(curves.optimization),
  Section(phase_table.phase_table),
  Section(layer_curves.layers),
  Section(classes.classes, CLASSES),
  Section(residuals.residuals, NUMBERS),
  Section(named_arrays.by_class, (BY_CLASS,)),
  Section(named_arrays.by_position, (BY_POSITION,)),
  Section(named_arrays.histograms, (HISTOGRAM,)),
  Section(mistakes.mistakes, ("worst_input", "worst_prediction")),
  Section(heat_maps.attention, ("attention_weight",)),
  Section(samples.samples, ("sample_prompt", "sample_text")),
  Section(samples.history, ("history_step", "history_text")),
  Section(convolutions.convolutions, ("image", "filters")),
  Section(overview.phases),
  Section(overview.origin),
  Section(overview.config),
)
"""In the order of the page. A section appears if the run has its arrays,
whatever the kind of task: a new kind chooses among them by the names of the
arrays that its `report_arrays` returns, and has the other sections anyway."""

COMPARISON_SECTIONS: tuple[
  Callable[[groups.Comparison], Markup | None], ...
] = (
  comparison.head,
  interval_plot.intervals,
  comparison.results,
  strategy_verdict.verdict,
  paired_tests.tests,
  equal_budgets.equal_budgets,
  comparison_curves.curves,
  comparison_curves.curves_over_time,
  comparison.differences,
  comparison.runs,
)
"""In the order of the page about several runs."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Content security policy: the page can load and run nothing."""


def write(workdir: Path, output: Path | None = None) -> Path:
  """Writes the page about a run.

  Args:
    workdir: the folder of the run.
    output: the file to write, by default `workdir/report.html`.

  Returns:
    The path of the page.

  Raises:
    UserError: the file cannot be written.
  """
  content = page(run.read(workdir))
  return _write(output or workdir / "report.html", content)


def compare(folders: Sequence[str | Path], output: Path) -> Path:
  """Writes a page that compares runs, or groups of runs over seeds or folds.

  Args:
    folders: of runs, or of groups with runs in `seed_0`, `seed_1`, ... or in
      `fold_0`, `fold_1`, ...
    output: the file to write.

  Returns:
    `output`.

  Raises:
    UserError: a folder contains no run, is repeated or belongs to another
      task, or the file cannot be written.
  """
  return _write(output, comparison_page(groups.read(folders)))


def write_sections(
  output: Path, title: str, sections: Sequence[Markup]
) -> Path:
  """Writes a page of given sections, and returns its path.

  Raises:
    UserError: the file cannot be written.
  """
  makers = [lambda _, section=section: section for section in sections]
  return _write(output, _document(title, makers, None, ()))


def page(subject: run.Run) -> str:
  """Returns the page about a run as HTML."""
  makers = [
    section.make
    for section in SECTIONS
    if all(subject.named(name) for name in section.arrays)
  ]
  return _document(subject.name, makers, subject, subject.remarks)


def comparison_page(subject: groups.Comparison) -> str:
  """Returns the page of a comparison as HTML."""
  title = comparison.title(subject)
  return _document(title, COMPARISON_SECTIONS, subject, subject.remarks)


def _document(
  title: str,
  makers: Sequence[Callable[[Any], Markup | None]],
  subject: Any,
  remarks: Sequence[str],
) -> str:
  """Returns the HTML of all sections, and of the remarks if there are any."""
  sections, remarks = [], list(remarks)
  for make in makers:
    try:
      sections.append(make(subject))
    except Exception as error:  # Malformed data must not cost the whole page.
      remarks.append(f"section {make.__name__} is omitted: {error!r}"[:200])
  if remarks:
    lines = [tag("li", remark) for remark in remarks]
    sections.append(markup.section("Remarks", tag("ul", *lines)))
  style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
  viewport = "width=device-width, initial-scale=1"
  head = tag(
    "head",
    tag("meta", charset="utf-8"),
    tag("meta", name="viewport", content=viewport),
    tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
    tag("title", title),
    tag("style", Markup(style)),
  )
  body = tag("body", tag("main", *filter(None, sections)))
  return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _write(path: Path, content: str) -> Path:
  try:
    storage.write_atomic(path, content.encode("utf-8", "replace"))
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      raise  # `command` reports a full disk.
    raise UserError(
      f"expected to write the page to {path}",
      f"got: {error.strerror or error}",
      "choose a file in an existing folder",
    ) from error
  return path

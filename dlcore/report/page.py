"""The page: one file that shows a run, or several, and needs nothing else."""

import errno
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dlcore.errors import UserError
from dlcore.report import (
  classification,
  comparison,
  curves,
  features,
  groups,
  intervals,
  layers,
  markup,
  mistakes,
  overview,
  pairs,
  regression,
  run,
)
from dlcore.report.markup import Markup, tag

SECTIONS: tuple[Callable[[run.Run], Markup | None], ...] = (
  overview.head,
  overview.results,
  curves.curves,
  curves.optimization,
  layers.layers,
  classification.classification,
  regression.regression,
  mistakes.mistakes,
  features.features,
  overview.phases,
  overview.origin,
  overview.config,
)
"""In the order of the page; a section without data returns None."""

COMPARED: tuple[Callable[[groups.Comparison], Markup | None], ...] = (
  comparison.head,
  intervals.intervals,
  comparison.results,
  pairs.tests,
  comparison.curves,
  comparison.differences,
  comparison.runs,
)
"""The same, of the page about several runs."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The page cannot load or run anything, whatever a run folder brings."""


def write(workdir: Path, output: Path | None = None) -> Path:
  """Writes the page of a run from what lies in its folder.

  Args:
    workdir: the folder.
    output: where to write; None for `workdir/report.html`.

  Returns:
    the path of the page.

  Raises:
    UserError: it cannot be written there.
  """
  content = page(run.read(workdir))
  return _replace(output or workdir / "report.html", content)


def compare(folders: Sequence[str | Path], output: Path) -> Path:
  """Writes a page that compares runs, or groups of runs over seeds.

  Args:
    folders: of runs, or that hold runs as `seed_0`, `seed_1`, ...
    output: where to write.

  Returns:
    `output`.

  Raises:
    UserError: a folder holds no run, is named twice or of another task, or
      the page cannot be written there.
  """
  found = groups.read(folders)
  return _replace(output, comparison_page(found))


def page(found: run.Run) -> str:
  """Returns the page of a run as HTML."""
  return _document(found.name, SECTIONS, found, found.remarks)


def comparison_page(found: groups.Comparison) -> str:
  """Returns the page of a comparison as HTML."""
  title = comparison.title(found)
  return _document(title, COMPARED, found, found.remarks)


def _document(
  title: str,
  makers: Sequence[Callable[[Any], Markup | None]],
  found: Any,
  left_out: Sequence[str],
) -> str:
  """Returns the HTML of the sections that `makers` make of `found`."""
  sections, remarks = [], list(left_out)
  for section in makers:
    try:
      sections.append(section(found))
    except Exception as error:  # A stranger's data must not cost the page.
      remarks.append(f"{section.__name__} is left out: {error!r}"[:200])
  if remarks:
    lines = [tag("li", remark) for remark in remarks]
    sections.append(markup.section("Left out", tag("ul", *lines)))
  style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
  width = "width=device-width, initial-scale=1"
  top = tag(
    "head",
    tag("meta", charset="utf-8"),
    tag("meta", name="viewport", content=width),
    tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
    tag("title", title),
    tag("style", Markup(style)),
  )
  body = tag("body", tag("main", *filter(None, sections)))
  return f"<!doctype html>\n{tag('html', top, body, lang='en')}\n"


def _replace(path: Path, content: str) -> Path:
  """Writes a page in one move, so that a reader never sees half of it."""
  try:
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=".report")
    try:
      with os.fdopen(handle, "wb") as file:
        file.write(content.encode("utf-8", "replace"))
      os.chmod(draft, 0o644)  # A temporary file is private.
      os.replace(draft, path)
    except BaseException:
      os.unlink(draft)
      raise
  except OSError as error:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      raise  # The shell tells of it.
    raise UserError(
      f"expected to write the page to {path}",
      f"got: {error.strerror or error}",
      "name another file, in a folder that is there",
    ) from error
  return path

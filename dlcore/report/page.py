"""The page: one file that shows a run and needs nothing else."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from dlcore.report import (
  classification,
  curves,
  markup,
  mistakes,
  overview,
  regression,
  run,
)
from dlcore.report.markup import Markup, tag

SECTIONS: tuple[Callable[[run.Run], Markup | None], ...] = (
  overview.head,
  overview.results,
  curves.curves,
  curves.optimization,
  classification.classification,
  regression.regression,
  mistakes.mistakes,
  overview.phases,
  overview.origin,
  overview.config,
)
"""In the order of the page; a section without data returns None."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The page cannot load or run anything, whatever a run folder brings."""


def write(workdir: Path) -> Path:
  """Writes `workdir/report.html` from what lies in the folder.

  Returns:
    its path. It is replaced in one move, so a reader never sees half of it.
  """
  content = page(run.read(workdir)).encode("utf-8", "replace")
  path = workdir / "report.html"
  handle, draft = tempfile.mkstemp(dir=workdir, prefix=".report")
  try:
    with os.fdopen(handle, "wb") as file:
      file.write(content)
    os.chmod(draft, 0o644)  # A temporary file is private.
    os.replace(draft, path)
  except BaseException:
    os.unlink(draft)
    raise
  return path


def page(found: run.Run) -> str:
  """Returns the page as HTML."""
  sections, remarks = [], list(found.remarks)
  for section in SECTIONS:
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
    tag("title", found.name),
    tag("style", Markup(style)),
  )
  body = tag("body", tag("main", *filter(None, sections)))
  return f"<!doctype html>\n{tag('html', top, body, lang='en')}\n"

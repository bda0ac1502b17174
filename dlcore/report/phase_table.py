"""The parameters that were trained, in each phase of the training."""

from collections.abc import Mapping
from typing import Any

from dlcore.report import markup
from dlcore.report.json_values import as_number
from dlcore.report.markup import Markup, tag
from dlcore.report.run import Run

MAX_MODULES = 6
COLUMNS = ("phase", "trained layers", "steps", "trained", "frozen")


def phase_table(run: Run) -> Markup | None:
  """Returns a table of the phases; None if all parameters were trained."""
  rows = [_row(number + 1, phase) for number, phase in enumerate(run.phases)]
  if not rows:
    return None
  strategy = str(run.phases[-1].get("strategy", ""))[:40]
  note = f"The strategy is {strategy}." if strategy else ""
  if len(rows) > 1:
    note += " Dashed lines in the curves are the ends of the phases."
  return markup.section(
    "Trained parameters",
    tag("p", note.strip(), class_="note"),
    markup.table(COLUMNS, rows, text_columns=2),
  )


def _row(number: int, phase: Mapping[str, Any]) -> list[object]:
  counts = [as_number(phase.get(key)) for key in ("steps", "trained", "frozen")]
  modules = phase.get("modules")
  modules = [str(m)[:40] for m in modules] if isinstance(modules, list) else []
  text = ", ".join(modules[:MAX_MODULES])
  if len(modules) > MAX_MODULES:
    text += f" and {len(modules) - MAX_MODULES:,} more"
  numbers = ("" if n is None else markup.format_number(n) for n in counts)
  return [str(number), text, *numbers]

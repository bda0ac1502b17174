"""The encoding of a table as JSON data, checked when it is read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlcore.data import json_fields
from dlcore.data.tables.date_text import DATE_FORMATS, PARTS
from dlcore.data.tables.number_text import NUMBER_FORMATS
from dlcore.data.tables.table_plan import KINDS, ColumnPlan


def plan_to_json(plans: Sequence[ColumnPlan]) -> list[dict[str, Any]]:
  """Returns the fields of each column that differ from their defaults."""
  defaults = ColumnPlan._field_defaults
  return [
    {
      field: list(value) if isinstance(value, tuple) else value
      for field, value in plan._asdict().items()
      if field not in defaults or value != defaults[field]
    }
    for plan in plans
  ]


def plan_from_json(value: Any) -> tuple[ColumnPlan, ...]:
  """Returns the columns that `plan_to_json` wrote.

  Raises:
    ValueError, LookupError or TypeError: a field is unknown or malformed.
  """
  if not isinstance(value, list):
    raise TypeError
  return tuple(map(_column, value))


def _column(entry: Mapping[str, Any]) -> ColumnPlan:
  plan = ColumnPlan(
    **{name: _PARSERS[name](value) for name, value in entry.items()}
  )
  formats = DATE_FORMATS if plan.kind == "date" else NUMBER_FORMATS
  valid = plan.kind in KINDS and plan.format in formats
  valid &= set(plan.parts) <= set(PARTS)
  valid &= (plan.kind == "date") == bool(plan.parts)
  if not valid or not plan.features:
    raise ValueError
  return plan


_PARSERS: dict[str, Callable[[Any], Any]] = {
  "name": json_fields.text,
  "kind": json_fields.text,
  "format": json_fields.text,
  "required": json_fields.flag,
  "fill": json_fields.number,
  "indicator": json_fields.flag,
  "offset": json_fields.number,
  "parts": json_fields.names,
  "categories": json_fields.names,
  "other": json_fields.flag,
}

"""Dates and times in text, and their linear and cyclic parts."""

import datetime
import math
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

DATE_FORMATS = (
  "iso", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%Y-%m-%d",
  "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%Y",
  "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y",
  "%B %d %Y", "%b %Y", "%B %Y", "%Y-%m", "%Y.%m.%d", "time",
)  # fmt: skip
"""Formats of dates, which a time may follow. The first that fits is used."""

_DAY_FIRST = {
  "%m/%d/%Y": "%d/%m/%Y",
  "%m/%d/%y": "%d/%m/%y",
  "%m-%d-%Y": "%d-%m-%Y",
}
"""Formats that an ambiguous column can have besides the preferred one."""

_TIME = re.compile(
  r"(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d{1,9})?))?(?:\s*([ap])\.?m\.?)?\s*(?:Z|UTC)?",
  re.ASCII | re.IGNORECASE,
)

DAY = 86_400.0
"""Seconds of a day."""

PARTS = ("time", "year", "week", "day")
"""The linear part in days since 1970, and cycles of a year, a week and a day,
each of which is a pair of sine and cosine."""


def formats(day_first: bool) -> tuple[str, ...]:
  """Returns the formats in the order in which they are tried."""
  if not day_first:
    return DATE_FORMATS
  return (*_DAY_FIRST.values(), *DATE_FORMATS)


def alternative(format: str) -> str | None:  # noqa: A002  the field's name
  """Returns the format with day and month exchanged, if there is one."""
  pairs = [*_DAY_FIRST.items(), *((b, a) for a, b in _DAY_FIRST.items())]
  return dict(pairs).get(format)


def parser(format: str) -> Callable[[str], float | None]:  # noqa: A002
  """Returns a function from a text to seconds since 1970 (UTC), or None."""
  if format == "iso":
    return _iso
  if format == "time":
    return _seconds_of_day

  def parse(text: str) -> float | None:
    match = re.fullmatch(r"(.*?)(?:[T,]?\s*(\d{1,2}:\d{2}.*))?", text)
    date, time = match.groups() if match else (text, None)
    seconds = _seconds_of_day(time) if time else 0.0
    try:
      parsed = datetime.datetime.strptime(date.strip(), format)
    except ValueError:
      return None
    return None if seconds is None else _since_1970(parsed) + seconds

  return parse


def _iso(text: str) -> float | None:
  if not text[:4].isdigit() or "-" not in text[4:5]:
    return None
  try:
    return _since_1970(datetime.datetime.fromisoformat(text))
  except ValueError:
    match = re.fullmatch(r"(\S{10}[T ][\d:]+\.\d{6})\d{1,3}Z?", text)
    return _iso(match[1]) if match else None  # Nanoseconds.


def _since_1970(date: datetime.datetime) -> float:
  aware = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
  epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
  return (aware - epoch).total_seconds()


def _seconds_of_day(text: str) -> float | None:
  match = _TIME.fullmatch(text.strip())
  if match is None:
    return None
  hour, minute, second = int(match[1]), int(match[2]), float(match[3] or 0)
  if match[4]:
    if not 1 <= hour <= 12:
      return None
    hour = hour % 12 + (12 if match[4].lower() == "p" else 0)
  if hour > 23 or minute > 59 or second >= 60:
    return None
  return 3600.0 * hour + 60.0 * minute + second


def varying_parts(seconds: np.ndarray) -> tuple[str, ...]:
  """Returns the parts of dates that differ between examples.

  A cycle counts if the dates reach over a part of it that matters: a month for
  the year, several days for the week, and times of day.

  Args:
    seconds: float64 `[N]` since 1970, without NaN.
  """
  days = np.floor(seconds / DAY)
  span = np.ptp(days) if len(days) else 0.0
  varies = {
    "time": len(seconds) > 0 and np.ptp(seconds) > 0,
    "year": span > 31 and len(np.unique(days)) > 2,
    "week": span >= 7 and len(np.unique(days % 7)) > 1,
    "day": len(np.unique(seconds - days * DAY)) > 1,
  }
  return tuple(part for part in PARTS if varies[part])


def part_names(name: str, parts: Iterable[str]) -> tuple[str, ...]:
  """Returns the names of the features of a date column."""
  names = []
  for part in parts:
    cyclic = [f"{name} ({part} sin)", f"{name} ({part} cos)"]
    names += [name] if part == "time" else cyclic
  return tuple(names)


def to_parts(seconds: np.ndarray, parts: Sequence[str]) -> np.ndarray:
  """Returns the features of dates, float64 `[N, F]`, for seconds `[N]`."""
  days = np.floor(seconds / DAY)
  dates = days.astype("datetime64[D]")
  starts = dates.astype("datetime64[Y]").astype("datetime64[D]")
  phases = {
    "year": lambda: (seconds / DAY - starts.astype(np.float64)) / 365.25,
    "week": lambda: (days + 3) % 7 / 7,  # 1970-01-01 was a Thursday.
    "day": lambda: seconds / DAY - days,
  }
  columns = []
  for part in parts:
    if part == "time":
      columns.append(seconds / DAY)
    else:
      angle = 2 * math.pi * phases[part]()
      columns += [np.sin(angle), np.cos(angle)]
  return np.stack(columns, axis=1) if columns else np.empty((len(days), 0))

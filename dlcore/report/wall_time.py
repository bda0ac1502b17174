"""The curves of a run over its wall time instead of its steps."""

from collections.abc import Sequence

import numpy as np

from dlcore.report.curve_reader import Curve
from dlcore.report.curves import joined, phase_starts
from dlcore.report.json_values import as_mapping
from dlcore.report.run import Run

UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
LEAST_UNITS = 10
"""Units of a chart's longest time, of which the largest such unit is chosen."""


def clock(run: Run) -> Curve | None:
  """Returns the seconds since the start of a run over the steps of all phases.

  Returns:
    None if the log has no times. Stopped processes count with the time of the
    steps that are in the log.
  """
  total, process, pieces = 0.0, 0.0, []
  starts = (0.0, *phase_starts(run))
  for start, phase in zip(starts, run.clocks, strict=False):
    if phase is None:
      continue
    # The process of the phase before continues its clock, others begin at 0.
    continues = phase.seconds[0] >= process
    seconds = phase.seconds + (total - process if continues else total)
    pieces.append((phase.steps + start, seconds))
    total, process = float(seconds[-1]), phase.process
  if not pieces:
    return None
  return Curve(*map(np.concatenate, zip(*pieces, strict=True)))


def over_time(run: Run, metric: str) -> dict[str, Curve]:
  """Returns the curves of a metric over the seconds, by split.

  Evaluations have the interpolated times of the training steps in the log.
  """
  times = clock(run)
  if times is None:
    return {}
  curves, _ = joined(run, metric)
  return {
    split: Curve(np.interp(curve.steps, *times), curve.values)
    for split, curve in curves.items()
  }


def time_unit(seconds: float) -> str:
  """Returns the unit in which a chart shows times up to `seconds`."""
  fitting = [u for u, size in UNITS.items() if seconds >= LEAST_UNITS * size]
  return fitting[-1] if fitting else "s"


def machines_differ(runs: Sequence[Run]) -> bool:
  """Returns whether runs were on different machines, as far as it is known."""
  known = {
    (str(run.summary.get("machine")), str(run.summary.get("devices")))
    for run in runs
    if as_mapping(run.summary)
  }
  return len(known) > 1

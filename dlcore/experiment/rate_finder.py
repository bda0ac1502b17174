"""The learning rate that a range test suggests for an experiment."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dlcore import report, training
from dlcore.errors import UserError
from dlcore.experiment.build import build, phase_optimizer
from dlcore.experiment.initial_weights import load_initial
from dlcore.experiment.restoring import variables_of_run
from dlcore.training import rate_test

LEAST_STEPS = 20

PAGE = "lr_find.html"

TITLES = ("seed", "steepest", "minimum/10", "lowest loss", "ends at")


class RateCurves(NamedTuple):
  """The result of a range test over several seeds."""

  rates: np.ndarray
  """float `[T]`, ascending."""

  means: np.ndarray
  """Moving averages of the losses, float `[S, T]`, see `rate_test.smooth`."""

  seeds: tuple[int, ...]

  def suggestions(self) -> list[rate_test.Suggestion | None]:
    """Returns the suggestion of each seed."""
    return [rate_test.suggest(self.rates, row) for row in self.means]

  def suggestion(self) -> rate_test.Suggestion | None:
    """Returns the geometric mean of those of the seeds, None without any."""
    rows = [row for row in self.suggestions() if row is not None]
    if not rows:
      return None
    return rate_test.Suggestion(*np.exp(np.log(rows).mean(axis=0)).tolist())


def find_rate(
  config: Mapping[str, Any],
  *,
  seeds: int,
  steps: int,
  low: float,
  high: float,
  progress: bool = True,
) -> RateCurves:
  """Trains an experiment while its learning rate rises, with several seeds.

  Task, data, augmentation, optimizer, clipping and penalties are those of
  `config`; its learning rate and schedule are not used.

  Args:
    config: the complete tree, see `complete`.
    seeds: how many, from that of `config` upwards.
    steps: number of updates.
    low: the first learning rate.
    high: the last one.
    progress: whether to show progress on standard error.

  Raises:
    UserError: a mistake that the user can fix.
  """
  numbers = range(config["seed"], config["seed"] + seeds)
  _check(numbers, steps, low, high)
  training_section = {**config["training"], "compile": "jit"}
  experiment = build({**config, "training": training_section})
  memory = experiment.memory()
  parts = ("parameters", "optimizer", "others", "gradients", "activations")
  memory = memory._replace(**{k: seeds * getattr(memory, k) for k in parts})
  memory.check("use fewer --seeds, or a smaller data.batch_size")
  schedule = rate_test.exponential_rates(low, high, steps)
  with tempfile.TemporaryDirectory() as folder, experiment.qualified():
    losses = rate_test.measure_losses(
      experiment.task,
      phase_optimizer(
        config,
        schedule,
        experiment.phase,
        experiment.task,
        experiment.splits.train.info,
        experiment.scales,
      ),
      experiment.splits.train,
      **{
        **experiment.settings_of(rate_test.measure_losses),
        "seeds": numbers,
        "steps": steps,
        "initial": load_initial(
          config["init"],
          experiment.model,
          experiment.task,
          Path(folder),
          variables_of_run,
        ),
        "progress": progress,
      },
    )
  rates = np.array([float(schedule(step)) for step in range(steps)])
  return RateCurves(rates, rate_test.smooth(losses), tuple(numbers))


def rates_table(curves: RateCurves) -> str:
  """Returns the suggestions as text, a line for each seed and their mean."""
  table = [TITLES, *_rows(curves)]
  return "\n".join(
    "".join(cell.rjust(13 if i else 6) for i, cell in enumerate(row))
    for row in table
  )


def write_rate_page(curves: RateCurves, title: str, workdir: Path) -> Path:
  """Writes the plot and the table of a range test to `lr_find.html`.

  Raises:
    UserError: the folder cannot be written.
  """
  found = curves.suggestion()
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(
      f"expected a folder that can be written at {workdir}",
      f"got: {error.strerror}",
      "choose another --workdir",
    ) from error
  return report.write_rate_curves(
    workdir / PAGE,
    title,
    curves.rates,
    {f"seed {s}": m for s, m in zip(curves.seeds, curves.means, strict=True)},
    mark=found and found.minimum,
    table=(TITLES, _rows(curves)),
  )


def _rows(curves: RateCurves) -> list[list[str]]:
  """Returns the cells of a row for each seed, and of the geometric mean."""
  rows = []
  for seed, means, found in zip(
    curves.seeds, curves.means, curves.suggestions(), strict=True
  ):
    known = np.isfinite(means)
    lowest = f"{means[known].min():.4g}" if known.any() else ""
    last = f"{curves.rates[known][-1]:.2g}" if known.any() else ""
    rows.append([str(seed), *_cells(found), lowest, last])
  return [*rows, ["mean", *_cells(curves.suggestion()), "", ""]]


def _cells(found: rate_test.Suggestion | None) -> list[str]:
  return ["none", "none"] if found is None else [f"{x:.2g}" for x in found]


def _check(seeds: range, steps: int, low: float, high: float) -> None:
  """Checks the flags of the range test.

  Raises:
    UserError: one is out of range.
  """
  greatest = int(training.RANGES["seed"][1])
  if not seeds or seeds[-1] > greatest:
    raise UserError(
      f"expected --seeds of at least 1, and no seed above {greatest}",
      f"got {len(seeds)}, from the seed {seeds.start} on",
      "--seeds=3 is usual",
    )
  if steps < LEAST_STEPS:
    raise UserError(
      f"expected --steps of at least {LEAST_STEPS}",
      f"got {steps}",
      "100 steps are usual",
    )
  if not 0 < low < high < np.inf:
    raise UserError(
      "expected --min above 0, and --max above --min",
      f"got --min={low:g} and --max={high:g}",
      "--min=1e-7 --max=10 are usual",
    )

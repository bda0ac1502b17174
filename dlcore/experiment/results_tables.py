"""The results of runs as text for the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore import report
from dlcore.filesystem import printable

REMEDY = (
  "try another optim.learning_rate, more training.epochs, or check the labels"
)


def results_table(
  result: Mapping[str, Any], workdir: str | Path, *, repeated: bool = False
) -> str:
  """Returns the result of a run as a table.

  Args:
    result: the content of `summary.json`.
    workdir: the run folder.
    repeated: whether the run was finished before, so that its time is old.
  """
  cells = {key: f"{value:.4f}" for key, value in result["metrics"].items()}
  lines = [
    *_grid(cells, width=12),
    "",
    f"{'already finished: ' * repeated}step {result['step']:,} "
    f"(best: {result['best_step']:,}), {result['parameters']:,} parameters, "
    + _cost(result, repeated),
    f"--workdir={workdir} holds the run; see {Path(workdir) / 'report.html'}",
  ]
  if remark := report.trivial_remark(result, REMEDY):
    lines.append(remark)
  return printable("\n".join(lines))


def seeds_table(
  results: Mapping[int, Mapping[str, Any]],
  workdir: str | Path,
  unit: str = "seed",
) -> str:
  """Returns the mean and the 95% interval of every metric over the seeds.

  Args:
    results: of the runs, by seed or fold.
    workdir: the folder of the runs' folders.
    unit: "seed" or "fold". The training examples of folds overlap, so that
      their interval is too narrow (Bengio and Grandvalet 2004).
  """
  summaries = list(results.values())
  cells = {}
  for key in summaries[0]["metrics"]:
    values = [summary["metrics"][key] for summary in summaries]
    mean, half, _ = report.estimates.interval(values)
    cells[key] = f"{mean:.4f}" + ("" if half is None else f" ± {half:.4f}")
  names = ", ".join(map(str, results))
  title = f"the {unit} {names} alone"
  if len(results) > 1:
    title = f"mean and 95% interval (Student's t) over the {unit}s {names}"
  seconds = sum(summary["seconds"] for summary in summaries)
  lines = [
    *_grid(cells, width=20),
    "",
    f"{title}; {summaries[0]['parameters']:,} parameters, {seconds:.1f} s",
    f"--workdir={workdir} holds the runs; see {Path(workdir) / 'report.html'}",
  ]
  return printable("\n".join(lines))


def _cost(result: Mapping[str, Any], repeated: bool) -> str:
  if repeated:
    return f"trained before in {result['seconds']:.1f} s"
  rate = result["examples_per_second"]
  return f"{result['seconds']:.1f} s, {rate:,.0f} examples/s"


def _grid(cells: Mapping[str, str], width: int) -> list[str]:
  """Returns the lines of a table of `split/metric`: a row for each split."""
  names = list(dict.fromkeys(key.rpartition("/")[2] for key in cells))
  splits = list(dict.fromkeys(key.rpartition("/")[0] for key in cells))
  table = [["", *names]]
  for split in splits:
    table.append([split, *(cells.get(f"{split}/{n}", "") for n in names)])
  widths = [
    max(least, *(len(cell) + 2 for cell in column))
    for least, *column in zip([10] + len(names) * [width], *table, strict=True)
  ]
  return [
    row[0].ljust(widths[0]) + "".join(map(str.rjust, row[1:], widths[1:]))
    for row in table
  ]

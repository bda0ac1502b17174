"""What a run says in the terminal: its plan and its result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import models, report, tasks
from dlcore.experiment.build import build

BARS = "▁▂▃▄▅▆▇█"


def summary(config: Mapping[str, Any]) -> str:
  """Returns layers, parameters, FLOPs, data and schedule of an experiment."""
  experiment = build(config)
  about = experiment.splits.train.about
  sizes = {
    name: source.size
    for name, source in experiment.splits._asdict().items()
    if source is not None
  }
  example = jax.ShapeDtypeStruct((1, *about["shape"]), _seen(about))
  inputs = models.examples(experiment.model, example)
  note = ""
  if inputs[0] != example:
    note = f" (the model reads texts, here {inputs[0].shape[1]} tokens)"
  rates = np.array(
    [
      float(experiment.learning_rate(step))
      for step in np.linspace(0, max(experiment.steps - 1, 0), 60).astype(int)
    ]
  )
  heights = rates / max(rates.max(), 1e-30) * (len(BARS) - 1)
  return "\n".join(
    [
      models.summary(experiment.model, *inputs),
      *_paper(config["model"]["name"]),
      "",
      f"data      {about['name']}: "
      + ", ".join(f"{size:,} {name}" for name, size in sizes.items())
      + note,
      f"steps     {experiment.steps:,} of {config['data']['batch_size']}",
      f"rate      {''.join(BARS[round(height)] for height in heights)}",
      f"          {rates[0]:.3g} at first, {rates.max():.3g} at most, "
      f"{rates[-1]:.3g} at last",
    ]
  )


def _seen(about: Mapping[str, Any]) -> np.dtype:
  """Returns the dtype of what the model sees: only token ids stay whole."""
  tokens = about["input"] == tasks.supervised.TOKENS
  return np.dtype(np.int32 if tokens else np.float32)


def _paper(name: str) -> list[str]:
  """Returns what is published of a model, in a line or none."""
  if name not in models.PUBLISHED:
    return []
  paper, parameters, settings = models.PUBLISHED[name]
  given = ", ".join(f"{key}={value!r}" for key, value in settings.items())
  where = f"arXiv:{paper}" if paper[0].isdigit() else paper
  return [f"{parameters:,} parameters are published, for {given} ({where})"]


def table(result: Mapping[str, Any], workdir: str | Path) -> str:
  """Returns the result of a run for people."""
  cells = {key: f"{value:.4f}" for key, value in result["metrics"].items()}
  lines = [
    *_grid(cells, width=12),
    "",
    f"step {result['step']:,} (best: {result['best_step']:,}), "
    f"{result['parameters']:,} parameters, {result['seconds']:.1f} s, "
    f"{result['examples_per_second']:,.0f} examples/s",
    f"--workdir={workdir} holds the run; see {Path(workdir) / 'report.html'}",
  ]
  return "\n".join(lines)


def seeds_table(
  results: Mapping[int, Mapping[str, Any]], workdir: str | Path
) -> str:
  """Returns the mean and the 95% interval of every metric over the seeds.

  Args:
    results: of the runs, by seed.
    workdir: the folder of the runs' folders.
  """
  summaries = list(results.values())
  cells = {}
  for key in summaries[0]["metrics"]:
    values = [summary["metrics"][key] for summary in summaries]
    mean, half, _ = report.estimates.interval(values)
    cells[key] = f"{mean:.4f}" + ("" if half is None else f" ± {half:.4f}")
  names = ", ".join(map(str, results))
  what = f"the seed {names} alone"
  if len(results) > 1:
    what = f"mean and 95% interval (Student's t) over the seeds {names}"
  seconds = sum(summary["seconds"] for summary in summaries)
  lines = [
    *_grid(cells, width=20),
    "",
    f"{what}; {summaries[0]['parameters']:,} parameters, {seconds:.1f} s",
    f"--workdir={workdir} holds the runs; see {Path(workdir) / 'report.html'}",
  ]
  return "\n".join(lines)


def _grid(cells: Mapping[str, str], width: int) -> list[str]:
  """Returns the lines of a table of `split/metric`: a row for each split."""
  names = list(dict.fromkeys(key.split("/")[1] for key in cells))
  splits = list(dict.fromkeys(key.split("/")[0] for key in cells))
  lines = ["".join([f"{'':10}", *(f"{name:>{width}}" for name in names)])]
  for split in splits:
    row = [cells.get(f"{split}/{name}", "") for name in names]
    lines.append("".join([f"{split:10}", *(f"{n:>{width}}" for n in row)]))
  return lines

"""What a run says in the terminal: its plan and its result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import models
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
  rates = np.array(
    [
      float(experiment.learning_rate(step))
      for step in np.linspace(0, max(experiment.steps - 1, 0), 60).astype(int)
    ]
  )
  heights = rates / max(rates.max(), 1e-30) * (len(BARS) - 1)
  return "\n".join(
    [
      models.summary(experiment.model, tuple(about["shape"])),
      "",
      f"data      {about['name']}: "
      + ", ".join(f"{size:,} {name}" for name, size in sizes.items()),
      f"steps     {experiment.steps:,} of {config['data']['batch_size']}",
      f"rate      {''.join(BARS[round(height)] for height in heights)}",
      f"          {rates[0]:.3g} at first, {rates.max():.3g} at most, "
      f"{rates[-1]:.3g} at last",
    ]
  )


def table(result: Mapping[str, Any], workdir: str | Path) -> str:
  """Returns the result of a run for people."""
  metrics = result["metrics"]
  names = list(dict.fromkeys(name.split("/")[1] for name in metrics))
  splits = list(dict.fromkeys(name.split("/")[0] for name in metrics))
  lines = ["".join([f"{'':10}", *(f"{name:>12}" for name in names)])]
  for split in splits:
    cells = [metrics.get(f"{split}/{name}") for name in names]
    numbers = ["" if cell is None else f"{cell:.4f}" for cell in cells]
    lines.append("".join([f"{split:10}", *(f"{n:>12}" for n in numbers)]))
  lines += [
    "",
    f"step {result['step']:,} (best: {result['best_step']:,}), "
    f"{result['parameters']:,} parameters, {result['seconds']:.1f} s, "
    f"{result['examples_per_second']:,.0f} examples/s",
    f"--workdir={workdir} holds the run; see {Path(workdir) / 'report.html'}",
  ]
  return "\n".join(lines)

"""Runs that a user would type, timed from their start to their exit."""

import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]

FACTOR = 4
"""Between neighboring learning rates."""


def finish(
  config: str, folder: Path, seed: int, overrides: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the summary of a run and its `time`; trains it if necessary.

  The time has the `seconds` from the start of the command to its exit, its
  `cpu_seconds`, and the `provenance` of the run. It is kept in the folder, so
  that runs may be of several days. A run that was interrupted starts again: its
  time would be a part.

  Args:
    config: a config and perhaps its variant, such as "reviews:gru".
    folder: of the run.
    seed: of the run.
    overrides: settings by path.

  Raises:
    ValueError: if the folder has a run with other settings.
  """
  name, colon, variant = config.partition(":")
  wall_time = folder.absolute() / "wall.json"
  arguments = [
    f"--config=configs/{name}.py{colon}{variant}",
    f"--config.seed={seed}",
    *(f"--config.{path}={value}" for path, value in overrides.items()),
  ]
  if not wall_time.exists():
    shutil.rmtree(wall_time.parent, ignore_errors=True)
    command = [sys.executable, "experiments/train.py", *arguments]
    command.append(f"--workdir={wall_time.parent}")
    start, cpu_start = time.monotonic(), _cpu_seconds()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    measured = {
      "seconds": time.monotonic() - start,
      "cpu_seconds": _cpu_seconds() - cpu_start,
      "arguments": arguments,
      **provenance(ROOT),
    }
    wall_time.write_text(json.dumps(measured))
  measured = json.loads(wall_time.read_text())
  if measured.setdefault("arguments", arguments) != arguments:
    raise ValueError(f"{folder} has a run with {measured['arguments']}")
  summary = json.loads((wall_time.parent / "summary.json").read_text())
  return {**summary, "time": measured}


def _cpu_seconds() -> float:
  """Returns the processor time of the child processes that have ended."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def of_seeds(summaries: list[dict[str, Any]]) -> dict[str, Any]:
  """Returns what the runs of one config with several seeds have measured."""
  first = summaries[0]
  times = [summary["time"] for summary in summaries]
  return {
    "seeds": len(summaries),
    "seconds": [time["seconds"] for time in times],
    # Runs that were measured before have none.
    "cpu_seconds": [time.get("cpu_seconds") for time in times],
    "parameters": first["parameters"],
    "metrics": {
      name: [summary["metrics"][name] for summary in summaries]
      for name in first["metrics"]
    },
    **{
      name: ", ".join(sorted({time[name] for time in times}))
      for name in ("date", "commit", "machine")
    },
    "versions": times[0]["versions"],
  }


def with_best_rate(
  run: Callable[[int, float], dict[str, Any]],
  start: float,
  *,
  tuning: int,
  draws: int,
  metric: str = "test/accuracy",
) -> dict[str, Any]:
  """Returns what runs have measured with the learning rate of other draws.

  The rates are `start` times powers of `FACTOR`, as many as it takes until the
  best one has a worse one on either side.

  Args:
    run: `(draw, rate) -> summary`, evaluated on examples for development if
      the draw is below `tuning`, and on those of test otherwise.
    start: the first rate.
    tuning: number of draws for the choice.
    draws: number of draws that are measured.
    metric: whose mean is the largest with the best rate.
  """
  development: dict[float, float] = {}

  def develop(power: int) -> float:
    rate = start * FACTOR**power
    if rate not in development:
      development[rate] = statistics.mean(
        run(draw, rate)["metrics"][metric] for draw in range(tuning)
      )
    return development[rate]

  best = 0
  while True:
    around = max((best, best - 1, best + 1), key=develop)
    if around == best:
      break
    best = around
  rate = start * FACTOR**best
  runs = [run(draw, rate) for draw in range(tuning, tuning + draws)]
  return {
    "rate": rate,
    "development": {f"{r:g}": development[r] for r in sorted(development)},
    **of_seeds(runs),
  }

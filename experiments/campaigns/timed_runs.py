"""Runs that a user would type, timed from their start to their exit."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]


def finish(
  config: str, folder: Path, seed: int, overrides: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns the summary of a run and its `time`; trains it if necessary.

  The time has the `seconds` from the start of the command to its exit, and the
  `provenance` of the run. It is kept in the folder, so that runs may be of
  several days.

  Args:
    config: a config and perhaps its variant, such as "reviews:gru".
    folder: of the run.
    seed: of the run.
    overrides: settings by path.
  """
  name, colon, variant = config.partition(":")
  wall_time = folder.absolute() / "wall.json"
  if not wall_time.exists():
    command = [
      sys.executable,
      "experiments/train.py",
      f"--config=configs/{name}.py{colon}{variant}",
      f"--workdir={wall_time.parent}",
      f"--config.seed={seed}",
      *(f"--config.{path}={value}" for path, value in overrides.items()),
    ]
    start = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    wall_time.write_text(json.dumps({"seconds": seconds, **provenance(ROOT)}))
  summary = json.loads((wall_time.parent / "summary.json").read_text())
  return {**summary, "time": json.loads(wall_time.read_text())}


def of_seeds(summaries: list[dict[str, Any]]) -> dict[str, Any]:
  """Returns what the runs of one config with several seeds have measured."""
  first = summaries[0]
  times = [summary["time"] for summary in summaries]
  return {
    "seeds": len(summaries),
    "seconds": [time["seconds"] for time in times],
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
  rates: Sequence[float],
  *,
  tuning: int,
  draws: int,
) -> dict[str, Any]:
  """Returns what runs have measured with the learning rate of other draws.

  Args:
    run: `(draw, rate) -> summary`, evaluated on examples for development if
      the draw is below `tuning`, and on those of test otherwise.
    rates: to choose from, by the mean accuracy.
    tuning: number of draws for the choice.
    draws: number of draws that are measured.
  """
  development = {
    rate: statistics.mean(
      run(draw, rate)["metrics"]["test/accuracy"] for draw in range(tuning)
    )
    for rate in rates
  }
  rate = max(development, key=development.__getitem__)
  runs = [run(draw, rate) for draw in range(tuning, tuning + draws)]
  return {
    "rate": rate,
    "development": {str(rate): value for rate, value in development.items()},
    **of_seeds(runs),
  }

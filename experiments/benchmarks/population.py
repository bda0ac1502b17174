"""Many runs in one program, against the same runs one after the other."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from dlcore import command, experiment
from dlcore.training import Member, Population

MEMBERS = 64
STEPS = 400
PER_CALL = (1, 5, 20, 100)
"""Steps in a call; each side has the number with which it is fastest."""

PROBLEMS = {
  "mlp, digits": ("digits_mlp", {}, MEMBERS),
  "mlp of width 512, digits": (
    "digits_mlp",
    {"model.widths": "(512, 512)"},
    16,
  ),
  "cnn, digits": ("digits_cnn", {}, 8),
  "gru, language_id": ("language_id:gru", {"data.limit": "4000"}, 8),
  "transformer, language_id": (
    "language_id:transformer",
    {"data.limit": "4000"},
    8,
  ),
}
"""Config, its overrides, and number of members."""


def measure(repeats: int) -> dict:
  """Returns the ratio of times, one after the other / together, by problem."""
  return {
    name: _measure_problem(*problem, repeats=repeats)
    for name, problem in PROBLEMS.items()
  }


def _measure_problem(
  config: str, overrides: dict[str, str], count: int, *, repeats: int
) -> dict:
  name, colon, variant = config.partition(":")
  tree, _ = experiment.read_config(
    f"{command.ROOT}/configs/{name}.py{colon}{variant}",
    {**overrides, "training.steps": str(STEPS)},
    near=command.ROOT / "configs",
  )
  built = experiment.build(tree)
  rate = tree["optim"]["learning_rate"]
  rates = rate * np.geomspace(0.1, 2, count)
  members = [Member({"optim.learning_rate": float(r)}) for r in rates]
  together = _fastest(built, lambda one: one.fit(members))
  alone = _fastest(built, lambda one: [one.fit([m]) for m in members[:2]])
  rows = []
  for _ in range(repeats):
    seconds = [_time(lambda: together.fit(members))]
    seconds.append(_time(lambda: [alone.fit([m]) for m in members]))
    rows.append(seconds)
  ratios = sorted(one / all_ for all_, one in rows)
  return {
    "members": count,
    "steps": STEPS,
    "ratio": statistics.median(ratios),
    "least": ratios[0],
    "most": ratios[-1],
    "together_seconds": statistics.median(row[0] for row in rows),
    "alone_seconds": statistics.median(row[1] for row in rows),
  }


def _fastest(built: experiment.Experiment, run) -> Population:
  """Returns the compiled population with the best number of steps in a call."""
  timed = []
  for per_call in PER_CALL:
    section = {**built.config["training"], "steps_per_call": per_call}
    config = {**built.config, "training": section}
    with tempfile.TemporaryDirectory() as folder:
      population = experiment.build_population(
        experiment.build(config), Path(folder)
      )
    run(population)  # Compiles.
    timed.append((_time(lambda one=population: run(one)), per_call, population))
  return min(timed, key=lambda row: row[:2])[2]


def _time(function) -> float:
  start = time.perf_counter()
  function()
  return time.perf_counter() - start

"""Compares the optimizers and schedules with their papers' formulas in float64.

  optimizers.py

The formulas and the problem are in formulas/. --output is read by
experiments/results.py.
"""

import json
from collections.abc import Callable
from pathlib import Path

from absl import flags
from formulas import comparison

from dlcore import command, optim
from dlcore.provenance import provenance

OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/optimizers.json", "the file of the results"
)


def main():
  """Prints the largest difference of each and writes --output."""
  result = {
    **provenance(Path(__file__).parent),
    "steps": comparison.STEPS,
    "optimizers": {
      name: differences(
        name, comparison.optimizer_difference, comparison.optimizer_settings
      )
      for name in optim.OPTIMIZERS
    },
    "schedules": {
      name: differences(
        name, comparison.schedule_difference, comparison.schedule_settings
      )
      for name in optim.SCHEDULES
    },
  }
  Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")


def differences(
  name: str,
  difference: Callable[[str, dict], float],
  settings: Callable[[str], dict],
) -> dict[str, float]:
  """Returns the difference with default settings and with other ones."""
  result = {
    "default": difference(name, {}),
    "changed": difference(name, settings(name)),
  }
  print(name, *(f"{value:.1e}" for value in result.values()), flush=True)
  return result


if __name__ == "__main__":
  command.run(main)

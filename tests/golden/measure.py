"""Measures how far dlcore is from the golden files.

  python tests/golden/measure.py --output=experiments/results/parity.json

For each family the largest difference of any output and of any gradient,
max|a - b| / max|b| of each tensor, see `tests/transfer/golden.py`.
"""

import argparse
import collections
import datetime
import json
import sys
from pathlib import Path

import flax
import jax

sys.path.insert(0, str(Path(__file__).parents[1] / "transfer"))
from golden import NAMES, golden, gradient_errors, output_errors


def main() -> None:
  """Writes a JSON file of the errors by family."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--output", type=Path, required=True)
  output = parser.parse_args().output
  result = {
    "date": datetime.date.today().isoformat(),
    "versions": {"jax": jax.__version__, "flax": flax.__version__},
    "families": families(),
  }
  output.write_text(json.dumps(result, indent=2) + "\n")


def families() -> dict[str, dict[str, float]]:
  """Returns the largest errors of each family, and of how many files."""
  cases = collections.defaultdict(list)
  for name in NAMES:
    case = golden(name)
    cases[case.metadata["family"]].append(case)
  return {
    family: {
      "forward": max(max(output_errors(case).values()) for case in found),
      "gradient": max(max(gradient_errors(case).values()) for case in found),
      "files": len(found),
    }
    for family, found in sorted(cases.items())
  }


if __name__ == "__main__":
  main()

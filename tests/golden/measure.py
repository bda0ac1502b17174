"""Measures the errors of dlcore against the golden files.

  python tests/golden/measure.py --output=experiments/results/parity.json

For each family, the largest error of any output and of any gradient, where the
error is max|a - b| / max|b| of a tensor; see `tests/transfer/golden.py`.
"""

import argparse
import collections
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "transfer"))
from golden import NAMES, golden, gradient_errors, output_errors

from dlcore.provenance import provenance


def main() -> None:
  """Writes the errors by family as JSON."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--output", type=Path, required=True)
  output = parser.parse_args().output
  result = {
    **provenance(Path(__file__).parent),
    "families": families(),
  }
  output.write_text(json.dumps(result, indent=2) + "\n")


def families() -> dict[str, dict[str, float]]:
  """Returns the largest errors and the number of files of each family."""
  by_family = collections.defaultdict(list)
  for name in NAMES:
    case = golden(name)
    by_family[case.metadata["family"]].append(case)
  return {
    family: {
      "forward": max(max(output_errors(case).values()) for case in cases),
      "gradient": max(max(gradient_errors(case).values()) for case in cases),
      "files": len(cases),
    }
    for family, cases in sorted(by_family.items())
  }


if __name__ == "__main__":
  main()

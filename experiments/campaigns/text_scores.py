"""Compares the variants of the text configs with models of scikit-learn.

  text_peers.py
  text_scores.py [--only=language_id:gru,reviews:lstm] [--seeds=5]

Each run is the command that a user would type, timed from its start to its
exit; runs follow one another. The accuracy on the test split is compared with
that of the model that `text_peers.py` fitted to the same examples. The 95%
interval of the difference is a bootstrap over seeds and test examples, and a
variant is "better" or "worse" if it excludes 0, and "equal" otherwise.
"""

import json
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from absl import flags
from paired_bootstrap import compare

from dlcore import command
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
SETS = ("language_id", "reviews")

WORKDIR = flags.DEFINE_string("workdir", "runs/text_scores", "folder of runs")
PEERS = flags.DEFINE_string(
  "peers", "runs/text_peers", "text_peers.py --folder"
)
ONLY = flags.DEFINE_list("only", [], "some of the sets and variants")
SEEDS = flags.DEFINE_integer("seeds", 5, "runs of each variant")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/text_scores.json", "the file of the results"
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  for name in ONLY.value or every_variant():
    runs = [run(name, seed) for seed in range(SEEDS.value)]
    summaries = [json.loads((r / "summary.json").read_text()) for r in runs]
    metrics = [summary["metrics"] for summary in summaries]
    results[name] = {
      "parameters": summaries[0]["parameters"],
      "seconds": [json.loads((r / "wall.json").read_text()) for r in runs],
      "metrics": {key: [m[key] for m in metrics] for key in metrics[0]},
      "than_peer": compare_with_peer(name, runs),
      **provenance(ROOT),
    }
    accuracy = statistics.mean(m["test/accuracy"] for m in metrics)
    print(f"{name:24} {accuracy:.4f}", results[name]["than_peer"], flush=True)
    output.write_text(json.dumps(results, indent=1) + "\n")


def every_variant() -> list[str]:
  """Returns all variants of the configs, such as "reviews:gru"."""
  names = []
  for name in SETS:
    config = runpy.run_path(str(ROOT / "configs" / f"{name}.py"))
    names += [f"{name}:{variant}" for variant in config["VARIANTS"]]
  return names


def run(name: str, seed: int) -> Path:
  """Returns the folder of a run, after it has finished."""
  config, _, variant = name.partition(":")
  workdir = Path(WORKDIR.value).absolute() / f"{config}_{variant}_{seed}"
  wall_time = workdir / "wall.json"
  if not wall_time.exists():
    start = time.monotonic()
    subprocess.run(
      [
        sys.executable,
        "experiments/train.py",
        f"--config=configs/{config}.py:{variant}",
        f"--workdir={workdir}",
        f"--config.seed={seed}",
      ],
      cwd=ROOT,
      check=True,
      stdout=subprocess.DEVNULL,
    )
    wall_time.write_text(json.dumps(time.monotonic() - start))
  return workdir


def compare_with_peer(name: str, runs: list[Path]) -> dict:
  """Returns the paired comparison of the test accuracy with the peer's."""
  with np.load(Path(PEERS.value) / f"{name.partition(':')[0]}.npz") as peer:
    labels, theirs = peer["label"], peer["prediction"]
  correct = []
  for folder in runs:
    with np.load(folder / "assets" / "predictions.npz") as own:
      np.testing.assert_array_equal(own["label"], labels)
      correct.append(own["prediction"] == labels)
  return compare(np.array(correct), theirs == labels)


if __name__ == "__main__":
  command.run(main)

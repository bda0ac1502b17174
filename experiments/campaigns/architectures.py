"""Compares architectures of configs/language_id.py as equals.

  architectures.py --seconds=60

Each has about 300,000 parameters, and as many steps as it makes in --seconds on
this machine. First runs of 200 and more steps measure its speed. All other
settings are those of the variant, which was made for more parameters and more
time: the table of text_scores.py has the scores of the variants themselves.
--output is read by experiments/results.py.
"""

import json
import statistics
from pathlib import Path

import timed_runs
from absl import flags

from dlcore import command

EQUAL: dict[str, dict] = {
  "ngram_bag": {"model.width": 16, "model.buckets": 18_650},
  "ngram_cnn": {
    "model.width": 16,
    "model.buckets": 16_600,
    "model.features": 96,
    "model.widths": "()",
  },
  "text_cnn": {"model.features": 268},
  "rnn": {"model.width": 248},
  "lstm": {"model.width": 130},
  "gru": {"model.width": 150},
  "transformer": {
    "model.width": 104,
    "model.depth": 2,
    "model.mlp_dim": 416,
  },
}
"""Settings of about 300,000 parameters, by variant."""

SEEDS = 3
PROBE_STEPS, PROBE_SECONDS = 200, 5.0
"""Of the first run, and of the steps of the last one that measures speed."""

SECONDS = flags.DEFINE_float("seconds", 60.0, "training time of a run")
WORKDIR = flags.DEFINE_string("workdir", "runs/architectures", "folder of runs")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/architectures.json", "the file of the results"
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  results = {}
  for name, settings in EQUAL.items():
    config, folder = f"language_id:{name}", Path(WORKDIR.value)
    steps = count_steps(config, settings, folder / f"{name}_probe")
    runs = [
      timed_runs.finish(
        config,
        folder / f"{name}_{seed}",
        seed,
        {**settings, "training.steps": steps},
      )
      for seed in range(SEEDS)
    ]
    results[name] = {
      **timed_runs.of_seeds(runs),
      "steps": steps,
      "examples_per_second": [run["examples_per_second"] for run in runs],
      "step_seconds": [run["phases"]["step"] for run in runs],
    }
    accuracies = results[name]["metrics"]["test/accuracy"]
    print(name, steps, f"{statistics.mean(accuracies):.2%}", flush=True)
    Path(OUTPUT.value).write_text(json.dumps(results, indent=1) + "\n")


def count_steps(
  config: str, settings: dict, folder: Path, probed: int = PROBE_STEPS
) -> int:
  """Returns how many steps a variant makes in --seconds.

  Args:
    config: the variant.
    settings: its settings by path.
    folder: the beginning of the names of the first runs.
    probed: steps of a first run.
  """
  probe = folder.with_name(f"{folder.name}_{probed}")
  summary = timed_runs.finish(
    config, probe, 0, {**settings, "training.steps": probed}
  )
  if summary["phases"]["step"] < PROBE_SECONDS:
    return count_steps(config, settings, folder, 10 * probed)
  section = json.loads((probe / "config.json").read_text())["data"]
  speed = summary["examples_per_second"] / section["batch_size"]
  return round(SECONDS.value * speed)


if __name__ == "__main__":
  command.run(main)

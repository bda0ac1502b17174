"""Measures time, memory and checkpoints of the strategies of transfer.

  transfer_costs.py --weights=DIR [--only=full,lora]

DIR is a folder such as that of all-MiniLM-L6-v2. Each case of `CASES` trains a
classifier of reviews with configs/transfer_text.py for a few epochs, in a
process of its own: a first one fills the cache of compiled programs, a second
one is measured. The time of an epoch is that of its steps; cached features are
computed before them. The peak of the process counts from the reading of the
weights. --output is read by experiments/results.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

from absl import flags
from peak_memory import process_memory, reset_peak

from dlcore import command, experiment
from dlcore.provenance import provenance
from dlcore.training.memory_estimate import MemoryEstimate

ROOT = Path(__file__).resolve().parents[2]

CASES: dict[str, dict] = {
  "full": {"name": "full"},
  "layerwise": {"name": "layerwise"},
  "l2sp": {"name": "l2sp"},
  "last_n": {"name": "last_n"},
  "bitfit": {"name": "bitfit"},
  "head, no cache": {"name": "head", "cache": False},
  "head": {"name": "head"},
  "lora": {"name": "lora"},
  "lora, bfloat16": {"name": "lora", "base": "bfloat16"},
  "lora, int8": {"name": "lora", "base": "int8"},
}
"""Settings of `init.strategy`."""

EXAMPLES, EPOCHS = 192, 2
SETTINGS = {
  "data.name": "reviews",
  "data.limit": EXAMPLES,
  "data.eval_limit": 128,
  "data.max_length": 128,
  "data.batch_size": 32,
  "data.sampling": "uniform",
  "training.epochs": float(EPOCHS),
  # Evaluation takes less memory than a step.
  "training.eval_batch_size": 8,
  "training.best_by": "-loss",
  "optim.learning_rate": 1e-4,
}

ONLY = flags.DEFINE_list("only", [], "the cases to measure (default: all)")
CASE = flags.DEFINE_string("case", "", "measures one case in this process")
WEIGHTS = flags.DEFINE_string("weights", None, "the published encoder")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/transfer_costs.json", "the file of results"
)


def main():
  """Measures every case in a process of its own."""
  command.required(WEIGHTS)
  if CASE.value:
    print(json.dumps(measure(CASE.value)))
    return
  names = [n for n in CASES if not ONLY.value or n in ONLY.value]
  with tempfile.TemporaryDirectory() as cache:
    rows = {name: run(name, cache) for name in names}
  result = {**provenance(Path(__file__).parent), "cases": rows}
  Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))


def run(name: str, cache: str) -> dict[str, float]:
  """Returns the result of `measure` in another process.

  Args:
    name: key of `CASES`.
    cache: folder of the compiled programs.
  """
  arguments = [sys.executable, __file__, f"--case={name}"]
  arguments += [f"--weights={WEIGHTS.value}"]
  for _ in range(2):
    result = subprocess.run(
      arguments,
      stdout=subprocess.PIPE,
      text=True,
      check=True,
      env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
    )
  row = json.loads(result.stdout.splitlines()[-1])
  print(name, row, file=sys.stderr, flush=True)
  return row


def measure(name: str) -> dict[str, float]:
  """Returns seconds of an epoch, bytes by purpose, and the test loss."""
  overrides = {
    **SETTINGS,
    "init.source": WEIGHTS.value,
    **{f"init.strategy.{key}": value for key, value in CASES[name].items()},
  }
  config, _ = experiment.read_config(
    f"{ROOT}/configs/transfer_text.py",
    {path: str(value) for path, value in overrides.items()},
    near=None,
  )
  estimates = []
  check = MemoryEstimate.check

  def record(self, *arguments):
    estimates.append(self)
    return check(self, *arguments)

  workdir = tempfile.mkdtemp()
  try:
    before = reset_peak()
    with mock.patch.object(MemoryEstimate, "check", record):
      summary = experiment.train(config, workdir, progress=False)
    peak = process_memory("VmHWM") - before
    checkpoints = Path(workdir) / "checkpoints"
    newest = checkpoints / str(summary["step"])
    checkpoint = sum(f.stat().st_size for f in newest.rglob("*") if f.is_file())
  finally:
    shutil.rmtree(workdir)
  estimate = estimates[-1]
  phases = summary["phases"]
  return {
    "epoch_seconds": (phases["step"] + phases["feed"]) / EPOCHS,
    "seconds": summary["seconds"],
    "all_parameters": summary["parameters"],
    "parameters": estimate.parameters,
    "optimizer": estimate.optimizer,
    "gradients": estimate.gradients,
    "activations": estimate.activations,
    "peak": peak,
    "checkpoint": checkpoint,
    "loss": summary["metrics"]["test/loss"],
  }


if __name__ == "__main__":
  command.run(main)

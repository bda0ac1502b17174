"""Compares the losses on one device and on eight, under `jit` and `pmap`.

  devices.py

Eight virtual CPU devices replace real ones.
"""

import json
import os
import tempfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
from absl import flags

from dlcore import augment, command, data, models, optim, tasks, training
from dlcore.provenance import provenance

STEPS = 50
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/devices.json", "the file of the results"
)


def main():
  """Trains three times and prints the largest differences."""
  one = losses(1, "jit")
  eight = losses(8, "jit")
  mapped = losses(8, "pmap")
  errors = {
    "eight devices with one": difference(one, eight),
    "`pmap` with `jit`, on eight": difference(eight, mapped),
  }
  result = {
    **provenance(Path(__file__).parent),
    "steps": STEPS,
    "errors": errors,
  }
  Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))


def losses(num_devices: int, compiler: str) -> np.ndarray:
  """Returns the loss of every step of the digits CNN with batch norm."""
  splits = data.load("digits")
  model = models.create(
    "cnn", num_classes=10, axis_name="data" if compiler == "pmap" else None
  )
  task = tasks.classification(
    model, normalization=splits.train.info.schema.normalization
  )
  with tempfile.TemporaryDirectory() as workdir:
    training.fit(
      tasks.augmented(task, augment.compose({"shift": 1})),
      optim.create("momentum", learning_rate=0.05, clip_norm=1.0),
      splits.train,
      steps=STEPS,
      batch_size=64,
      workdir=workdir,
      log_every=1,
      compiler=compiler,
      devices=jax.devices()[:num_devices],
      progress=False,
    )
    lines = (Path(workdir) / "metrics.jsonl").read_text().splitlines()
  return np.array([json.loads(line)["loss"] for line in lines])


def difference(left: np.ndarray, right: np.ndarray) -> float:
  """Returns max|left - right| / max|left|."""
  return float(np.abs(left - right).max() / np.abs(left).max())


if __name__ == "__main__":
  command.run(main)

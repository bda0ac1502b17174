"""A multilayer perceptron on a table: breast cancer, benign or malignant.

  experiments/train.py --config=configs/breast_cancer_mlp.py

For your own table:
--config.data.name=table_csv --config.data.path=FILE --config.data.target=NAME

Measured on AMD EPYC (family 25 model 17, AVX-512), 2 cores, 2026-11-29, commit
eefeac5: test accuracy 96.64% (deviation 0.74 over 5 seeds) in 4 s from the
command to its exit.
"""

from dlcore import experiment


def get_config(variant=""):
  """Returns the config; there are no variants."""
  experiment.no_variant(variant)
  return experiment.config(
    data={"name": "breast_cancer", "batch_size": 32},
    model={"name": "mlp", "widths": (64, 64), "dropout": 0.2},
    optim={"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-2},
    training={"epochs": 60.0},
  )

"""The stress of each vowel of an English word, from its phonemes.

  experiments/train.py --config=configs/stress.py
  experiments/train.py --config=configs/stress.py:transformer
  experiments/predict.py --workdir=runs/stress --text="P R AH N AW N S"

The data is in the package, see `data.cmudict_stress`. `accuracy` is that of
vowels, and `sequence_accuracy` that of whole words. The variants are `lstm`,
bidirectional (the default), and `transformer`.

Measured on AMD EPYC (family 25 model 17, AVX-512), 1 core, 2026-11-30, commit
2d85ade: test accuracy 90.66% ± 0.06, sequence accuracy 80.94% ± 0.04, of 5
seeds, in 2.6 to 4.9 minutes from the command to its exit.
"""

from dlcore import experiment
from dlcore.errors import lookup

VARIANTS = {
  # model, learning rate
  "lstm": (
    {"name": "lstm", "width": 128, "bidirectional": True, "dropout": 0.2},
    3e-3,
  ),
  "transformer": (
    {
      "name": "bert_base",
      "width": 128,
      "depth": 3,
      "num_heads": 4,
      "mlp_dim": 256,
      "max_length": 64,
      "num_token_types": 0,
    },
    1e-3,
  ),
}
"""Model and learning rate by variant."""


def get_config(variant=""):
  """Returns the config of a variant."""
  model, learning_rate = lookup(
    VARIANTS, variant or next(iter(VARIANTS)), "variant"
  )
  return experiment.config(
    data={
      "name": "cmudict_stress",
      "batch_size": 128,
      "sampling": "bucketed",
    },
    model={**model, "head": "tokens"},
    task={"name": "tagging"},
    optim={
      "name": "adamw",
      "learning_rate": learning_rate,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine", "warmup": 0.05},
    },
    training={"epochs": 6.0, "best_by": "accuracy"},
  )

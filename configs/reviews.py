"""Reviews of food with five stars or fewer, from their words.

  experiments/train.py --config=configs/reviews.py
  experiments/train.py --config=configs/reviews.py:text_cnn

The variants are the models of `VARIANTS`; the default is the first. The data is
in the package; see `data.reviews`.

Measured on AMD EPYC (family 25 model 17, AVX-512), 1 core, 2026-11-30, commit
2d85ade: test accuracy 79.98% ± 0.68, roc auc 0.860 ± 0.002, of 5 seeds, in 0.4
to 0.5 minutes from the command to its exit.
"""

from dlcore import experiment
from dlcore.errors import lookup

RECURRENT = {"width": 64, "bidirectional": True, "dropout": 0.4}

VARIANTS = {
  # model, tokens of a review, learning rate, epochs
  "ngram_bag": (
    {
      "name": "ngram_bag",
      "ngrams": (1, 2),
      "width": 64,
      "ngram_dropout": 0.3,
      "dropout": 0.3,
    },
    256,
    2e-3,
    10.0,
  ),
  "text_cnn": ({"name": "text_cnn", "dropout": 0.5}, 256, 1e-3, 8.0),
  "rnn": ({"name": "rnn", **RECURRENT}, 128, 5e-4, 8.0),
  "lstm": ({"name": "lstm", **RECURRENT}, 128, 2e-3, 6.0),
  "gru": ({"name": "gru", **RECURRENT}, 128, 2e-3, 6.0),
  "transformer": (
    {
      "name": "distilbert",
      "width": 64,
      "depth": 2,
      "num_heads": 4,
      "max_length": 256,
      "dropout": 0.2,
    },
    256,
    5e-4,
    8.0,
  ),
}
"""Model, tokens of a review, learning rate and epochs by variant."""


def get_config(variant=""):
  """Returns the config of a variant."""
  model, max_length, learning_rate, epochs = lookup(
    VARIANTS, variant or next(iter(VARIANTS)), "variant"
  )
  return experiment.config(
    data={
      "name": "reviews",
      "batch_size": 64,
      "max_length": max_length,
      "sampling": "bucketed",
    },
    model=model,
    task={"metrics": ("roc_auc",)},
    optim={
      "name": "adamw",
      "learning_rate": learning_rate,
      "weight_decay": 1e-2,
      "schedule": {"name": "warmup_cosine"},
    },
    training={"epochs": epochs, "ema": 0.98, "best_by": "accuracy"},
  )

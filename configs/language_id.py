"""The language of a short name, among 24, from its characters.

  experiments/train.py --config=configs/language_id.py
  experiments/train.py --config=configs/language_id.py:gru

The variants are the models of `VARIANTS`; the default is the first. The data is
in the package; see `data.language_id`.

Measured on AMD EPYC (family 25 model 17, AVX-512), 1 core, 2026-11-30, commit
2d85ade: test accuracy 83.53% ± 0.26, f1 macro 81.87% ± 0.28, of 5 seeds, in
2.2 to 3.3 minutes from the command to its exit.
"""

from dlcore import experiment
from dlcore.errors import lookup

RECURRENT = {"width": 128, "bidirectional": True, "dropout": 0.3}

VARIANTS = {
  # model, learning rate, epochs
  "ngram_cnn": (
    {
      "name": "ngram_cnn",
      "width": 64,
      "features": 96,
      "widths": (256,),
      "bag_rate": 0.4,
      "ngram_dropout": 0.3,
      "dropout": 0.3,
    },
    2e-3,
    16.0,
  ),
  "ngram_bag": (
    {"name": "ngram_bag", "width": 64, "ngram_dropout": 0.3, "dropout": 0.3},
    3e-3,
    20.0,
  ),
  "text_cnn": (
    {
      "name": "text_cnn",
      "kernel_sizes": (1, 2, 3, 4, 5),
      "features": 128,
      "dropout": 0.3,
    },
    2e-3,
    30.0,
  ),
  "rnn": ({"name": "rnn", **RECURRENT}, 1e-3, 20.0),
  "lstm": ({"name": "lstm", **RECURRENT}, 2e-3, 20.0),
  "gru": ({"name": "gru", **RECURRENT}, 2e-3, 20.0),
  "transformer": (
    {
      "name": "bert_base",
      "width": 128,
      "depth": 2,
      "num_heads": 4,
      "max_length": 64,
      "num_token_types": 0,
      "dropout": 0.1,
    },
    1e-3,
    20.0,
  ),
}
"""Model, learning rate and epochs by variant."""


def get_config(variant=""):
  """Returns the config of a variant."""
  model, learning_rate, epochs = lookup(
    VARIANTS, variant or next(iter(VARIANTS)), "variant"
  )
  return experiment.config(
    data={"name": "language_id", "batch_size": 64, "sampling": "bucketed"},
    model=model,
    task={"label_smoothing": 0.1, "metrics": ("f1_macro",)},
    optim={
      "name": "adamw",
      "learning_rate": learning_rate,
      "weight_decay": 1e-2,
      "schedule": {"name": "warmup_cosine"},
    },
    training={"epochs": epochs, "ema": 0.99, "best_by": "accuracy"},
  )

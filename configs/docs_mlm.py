"""A small BERT that predicts hidden characters of Python's documentation.

experiments/train.py --config=configs/docs_mlm.py

Other texts are those of configs/docs_lm.py, such as --config.data.name=lm1b.
With a tokenizer.json in --config.data.tokenizer the model may be the
--config.init.source of a run of another task on data of that tokenizer.

Measured on AMD EPYC (family 25 model 17, AVX-512), 1 core, 2026-11-30, commit
d4fafd1: test masked accuracy 49.52%, loss 1.853, of 1 seed, in 35.1 minutes
from the command to its exit.
"""

from dlcore import experiment

LENGTH = 128


def get_config(variant=""):
  """Returns the config."""
  experiment.no_variant(variant)
  return experiment.config(
    data={
      "name": "docs_text",
      "batch_size": 32,
      "max_length": LENGTH,
    },
    model={
      "name": "bert_base",
      "head": "mlm",
      "width": 128,
      "depth": 4,
      "num_heads": 4,
      "max_length": LENGTH,
      "num_token_types": 0,
      "dropout": 0.1,
    },
    task={"name": "masked_language_model"},
    optim={
      "name": "adamw",
      "learning_rate": 1e-3,
      "weight_decay": 0.01,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine"},
    },
    training={"steps": 3000, "eval_batch_size": 32},
  )

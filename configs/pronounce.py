"""The pronunciation of an English word, phonemes from letters.

  experiments/train.py --config=configs/pronounce.py
  experiments/train.py --config=configs/pronounce.py:transformer
  experiments/predict.py --workdir=runs/pronounce --text=colonel

The data is in the package, see `data.cmudict`: all pronunciations of a word
are in one split, without stress. `token_error_rate` is the phoneme error rate,
with the least error over the pronunciations of a word, and the word error rate
is 1 - `exact_match`. This is not the published split.

The variants are `seq2seq`, recurrent with attention (the default),
`transformer`, and `full`, a wider one for a GPU, which has not been run.

Measured on AMD EPYC (family 25 model 17, AVX-512), 1 core, 2026-11-30, commit
a80a950: test token error rate 6.97% ± 0.02, exact match 70.70% ± 0.30, of 3
seeds, in 22.2 to 23.6 minutes from the command to its exit.
"""

from dlcore import experiment
from dlcore.errors import lookup

VARIANTS = {
  # model, learning rate, batch size, epochs
  "seq2seq": (
    {"name": "seq2seq", "width": 192, "attention": "general", "dropout": 0.2},
    3e-3,
    128,
    10.0,
  ),
  "transformer": (
    {
      "name": "transformer_base",
      "width": 128,
      "depth": 3,
      "num_heads": 4,
      "mlp_dim": 512,
      "max_length": 64,
      "pre_norm": True,
      "dropout": 0.1,
    },
    1e-3,
    128,
    10.0,
  ),
  "full": (
    {
      "name": "seq2seq",
      "cell": "lstm",
      "width": 512,
      "depth": 2,
      "attention": "general",
      "dropout": 0.4,
    },
    1e-3,
    256,
    40.0,
  ),
}
"""Model, learning rate, batch size and epochs by variant."""


def get_config(variant=""):
  """Returns the config of a variant."""
  model, learning_rate, batch_size, epochs = lookup(
    VARIANTS, variant or next(iter(VARIANTS)), "variant"
  )
  return experiment.config(
    data={
      "name": "cmudict",
      "batch_size": batch_size,
      "sampling": "bucketed",
    },
    model=model,
    task={"name": "sequence_to_sequence"},
    optim={
      "name": "adam",
      "learning_rate": learning_rate,
      "b2": 0.98,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine", "warmup": 0.05},
    },
    training={
      "epochs": epochs,
      "eval_every": 1000,
      "best_by": "-token_error_rate",
    },
  )

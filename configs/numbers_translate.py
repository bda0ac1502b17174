"""Numbers in English words to French words.

  experiments/train.py --config=configs/numbers_translate.py
  experiments/train.py --config=configs/numbers_translate.py:transformer
  experiments/predict.py --workdir=runs/numbers_translate --text="forty-two"

The data is in the package: 3% of the numbers below a million, see
`data.number_words`. `exact_match` is the share of numbers without an error. The
numbers of the test split are in no other form in train; those with more words
than any in train are a set of their own:

  run = dlcore.load("runs/numbers_translate")
  run.evaluate(data.load("number_words", test="longer").test)

Translations of TFDS are --config.data.name=ted_hrlr_translate/pt_to_en,
wmt14_translate/de-en, or tfds_pairs with --config.data.builder=NAME.

The variants are `seq2seq`, recurrent with attention (the default),
`transformer`, and `full`, the transformer "base" of Vaswani et al. 2017 for a
GPU, which has not been run. chrF and BLEU need the extra `translation`:
--config.task.metrics='("chrf", "bleu")'.

Measured on AMD EPYC (family 25 model 17, AVX-512), 1 core, 2026-11-30, commit
a78ebdd: test exact match 100.00% ± 0.00, of longer numbers exact match 0.00% ±
0.00, of 5 seeds, in 4.2 to 7.5 minutes from the command to its exit.
"""

from dlcore import experiment
from dlcore.errors import lookup

VARIANTS = {
  # model, learning rate, batch size, epochs
  "seq2seq": (
    {
      "name": "seq2seq",
      "width": 128,
      "attention": "general",
      "dropout": 0.1,
    },
    3e-3,
    64,
    12.0,
  ),
  "transformer": (
    {
      "name": "transformer_base",
      "width": 128,
      "depth": 2,
      "num_heads": 4,
      "mlp_dim": 256,
      "max_length": 64,
      "pre_norm": True,
      "dropout": 0.1,
    },
    1e-3,
    64,
    12.0,
  ),
  "full": ({"name": "transformer_base", "dropout": 0.1}, 5e-4, 512, 100.0),
}
"""Model, learning rate, batch size and epochs by variant."""


def get_config(variant=""):
  """Returns the config of a variant."""
  model, learning_rate, batch_size, epochs = lookup(
    VARIANTS, variant or next(iter(VARIANTS)), "variant"
  )
  return experiment.config(
    data={
      "name": "number_words",
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
      "schedule": {"name": "warmup_cosine", "warmup": 0.1},
    },
    training={"epochs": epochs, "eval_every": 500, "best_by": "exact_match"},
  )

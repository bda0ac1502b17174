"""Language models of the characters of Python's documentation.

experiments/train.py --config=configs/docs_lm.py
experiments/train.py --config=configs/docs_lm.py:long
experiments/generate.py --workdir=runs/docs_lm --prompt="The import statement"

The variants are `lstm` (the default), `long`, a wider LSTM whose recurrent
weights are dropped, `gpt2` and `llama`. An LSTM continues from its state after
the row before. `experiments/campaigns/language_model_peers.py` has the figures
of n-gram models and compressors on the same text.

With --config.data.name=text_file --config.data.path=FILE it is a model of your
own text, with --config.data.name=lm1b --config.data.train="train[:1%]" of a
part of the One Billion Word benchmark, and with tfds_corpus and
--config.data.builder=NAME of another text of TFDS.

Measured on AMD EPYC (family 25 model 17, AVX-512), 2 cores, 2026-11-29, commit
c52ef8d: test bits per character 1.824 ± 0.004, of 3 seeds, in 3.3 to 3.4
minutes from the command to its exit.
"""

from dlcore import experiment
from dlcore.errors import lookup

LSTM = {"name": "lstm", "head": "lm"}
ATTENTION = {
  "width": 128,
  "depth": 3,
  "num_heads": 4,
  "max_length": 128,
}
VARIANTS = {
  # model, batch size, learning rate, steps
  "lstm": ({**LSTM, "width": 256, "dropout": 0.3}, 32, 3e-3, 3000),
  "long": (
    {**LSTM, "width": 512, "dropout": 0.4, "recurrent_dropout": 0.2},
    32,
    2e-3,
    5000,
  ),
  "gpt2": ({"name": "gpt2", "dropout": 0.1, **ATTENTION}, 16, 2e-3, 3000),
  "llama": (
    {
      "name": "llama2_7b",
      "num_kv_heads": 0,
      "head_dim": 0,
      "mlp_dim": 344,
      "tie_embeddings": True,
      **ATTENTION,
    },
    16,
    2e-3,
    3000,
  ),
}
"""Model, batch size, learning rate and steps by variant."""


def get_config(variant=""):
  """Returns the config of a variant."""
  model, batch_size, learning_rate, steps = lookup(
    VARIANTS, variant or next(iter(VARIANTS)), "variant"
  )
  recurrent = model["name"] == "lstm"
  return experiment.config(
    data={
      "name": "docs_text",
      "batch_size": batch_size,
      "max_length": 64 if recurrent else ATTENTION["max_length"],
      "sampling": "sequential" if recurrent else "uniform",
    },
    model=model,
    task={"name": "language_model", "carry": recurrent},
    optim={
      "name": "adamw",
      "learning_rate": learning_rate,
      "weight_decay": 0.01,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine"},
    },
    training={
      "steps": steps,
      "eval_batch_size": 16,
      "best_by": "-bits_per_character",
    },
  )

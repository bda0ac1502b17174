"""Language models of the characters of Python's documentation.

experiments/train.py --config=configs/docs_lm.py
experiments/train.py --config=configs/docs_lm.py:gpt2
experiments/generate.py --workdir=runs/docs_lm --prompt="The import statement"

With --config.data.name=lm1b --config.data.train="train[:1%]" it is a model of
a part of the One Billion Word benchmark, with tfds_corpus and
--config.data.builder=NAME of another text of TFDS.

The variants are `lstm` (the default), `gpt2` and `llama`. An LSTM continues
from its state after the row before.
"""

from dlcore import experiment
from dlcore.errors import check_choice

ATTENTION = {
  "width": 192,
  "depth": 4,
  "num_heads": 6,
  "max_length": 256,
}
MODELS = {
  "lstm": {"name": "lstm", "head": "lm", "width": 256, "dropout": 0.3},
  "gpt2": {"name": "gpt2", "dropout": 0.2, **ATTENTION},
  "llama": {
    "name": "llama2_7b",
    "num_kv_heads": 0,
    "head_dim": 0,
    "mlp_dim": 512,
    "tie_embeddings": True,
    **ATTENTION,
  },
}


def get_config(variant="lstm"):
  """Returns the config of a variant, a key of `MODELS`."""
  variant = variant or "lstm"
  check_choice("the variant", variant, MODELS)
  recurrent = variant == "lstm"
  return experiment.config(
    data={
      "name": "docs_text",
      "batch_size": 32,
      "max_length": 64 if recurrent else 256,
      "sampling": "sequential" if recurrent else "uniform",
    },
    model=MODELS[variant],
    task={"name": "language_model", "carry": recurrent},
    optim={
      "name": "adamw",
      "learning_rate": 3e-3,
      "weight_decay": 0.01,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine"},
    },
    training={
      "steps": 3000,
      "eval_batch_size": 16,
      "best_by": "-bits_per_character",
    },
  )

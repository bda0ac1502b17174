"""Continues the training of a language model on your own text or chats.

experiments/train.py --config=configs/transfer_lm.py --workdir=runs/mine \
  --config.init.source=WEIGHTS --config.data.path=FILE
experiments/train.py --config=configs/transfer_lm.py:chat ...
experiments/generate.py --workdir=runs/mine --prompt="A text"

WEIGHTS is a published folder of a GPT-2 or Llama with its tokenizer.json,
hf:ORG/NAME, or a run of dlcore. Model and tokenizer are those of the weights.
FILE is plain text, also several files; with `:chat` it is JSON lines of
messages, ShareGPT or Alpaca, and the loss counts the answers only.

No layer is new, so everything is trained from the first step.
--config.init.strategy=lora trains adapters alone, and scratch begins with
random weights; for others see `transfer.STRATEGIES`.
"""

from dlcore import experiment
from dlcore.errors import lookup

VARIANTS = {"text": "text_file", "chat": "chat"}
"""Data sets by variant."""

PLAN = experiment.Plan(
  batch_size=16, epochs=3.0, examples=2000, least_epochs=1.0, most_epochs=30.0
)


def get_config(variant=""):
  """Returns the config that `plan` completes."""
  name = lookup(VARIANTS, variant or next(iter(VARIANTS)), "variant")
  return experiment.config(
    data={"name": name, "batch_size": PLAN.batch_size},
    model={"name": "gpt2"},
    task={"name": "language_model"},
    optim={
      "name": "adamw",
      "learning_rate": 1e-4,
      "weight_decay": 0.01,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine", "warmup": 0.1},
    },
    training={"epochs": PLAN.epochs},
  )


def plan(config, variant):
  """Returns the settings that follow from weights and text, by path."""
  del variant
  leaves, train = experiment.follow_source(
    config,
    lambda source: experiment.text_settings(source, "lm"),
    "configs/docs_lm.py",
  )
  return leaves | (PLAN.leaves(config, train.size) if train else {})

"""Fine-tunes a text model on your own texts with classes or numbers.

experiments/train.py --config=configs/transfer_text.py --workdir=runs/mine \
  --config.init.source=WEIGHTS --config.data.path=FILE \
  --config.data.text=COLUMN --config.data.target=COLUMN

WEIGHTS is a published folder of a BERT, DistilBERT, GPT-2 or Llama with its
tokenizer.json, hf:ORG/NAME, or a run of dlcore. Model and tokenizer are those
of the weights; the output layer is a new one. FILE is CSV, TSV, JSON lines
(also .gz), Parquet or Arrow; other texts are --config.data.name=NAME, such as
reviews or imdb_reviews.

First the new layer is trained, then everything at rates that fall towards the
input. --config.init.strategy=NAME is another strategy: head, full, last_n,
gradual, layerwise, lora, bitfit or l2sp, see `transfer.STRATEGIES`, and setfit
for few texts of each class. With scratch, the same model begins with random
weights: the baseline. Of a sentence-transformers folder, classes are predicted
from its pooled tokens.
"""

from dlcore import experiment

RATES = {
  "bitfit": 1e-3,
  "full": 5e-5,
  "gradual": 2e-3,
  "l2sp": 5e-5,
  "last_n": 1e-4,
  "layerwise": 1e-4,
  "lora": 1e-3,
  "scratch": 5e-4,
}
"""Learning rates of strategies; a new layer alone has a larger one."""

PLAN = experiment.Plan(
  batch_size=32,
  epochs=3.0,
  examples=2000,
  least_epochs=3.0,
  most_epochs=30.0,
  learning_rate=1e-2,
  rates=RATES,
)


def get_config(variant=""):
  """Returns the config that `plan` completes."""
  experiment.no_variant(variant)
  return experiment.config(
    data={
      "name": "text_csv",
      "batch_size": PLAN.batch_size,
      "sampling": "bucketed",
    },
    model={"name": "bert_base"},
    init={
      "head": "reinitialized",
      # A pooler, which encoders without a head lack, begins at random.
      "allow": "pooler",
      "strategy": {"name": "fine_tune", "rate": 0.02, "spread": 10.0},
    },
    optim={
      "name": "adamw",
      "learning_rate": PLAN.learning_rate,
      "weight_decay": 0.01,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine", "warmup": 0.1},
    },
    training={"epochs": PLAN.epochs},
  )


def plan(config, variant):
  """Returns the settings that follow from weights and texts, by path."""
  del variant
  leaves, train = experiment.follow_source(
    config,
    lambda source: experiment.text_settings(source, "classifier"),
    "configs/text.py",
  )
  if train is None:
    return leaves
  schema = train.info.schema
  if schema.multilabel or not schema.classes:
    leaves["task.name"] = "multilabel" if schema.multilabel else "regression"
  return leaves | PLAN.leaves(config, train.size)

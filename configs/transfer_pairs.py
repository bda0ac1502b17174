"""Fine-tunes an encoder of texts on your own pairs of similar texts.

experiments/train.py --config=configs/transfer_pairs.py --workdir=runs/mine \
  --config.init.source=WEIGHTS --config.data.path=FILE \
  --config.data.first=COLUMN --config.data.second=COLUMN
experiments/features.py --workdir=runs/mine texts.csv --output=features
experiments/export.py --workdir=runs/mine --format=safetensors --output=DIR

WEIGHTS is a published folder of a BERT or DistilBERT with its tokenizer.json,
hf:ORG/NAME, or a run of dlcore. Model, tokenizer, pooling and normalization are
those of the weights; without the files of sentence-transformers, a text is the
mean of its tokens. FILE is CSV, TSV, JSON lines (also .gz), Parquet or Arrow,
or two parallel files: --config.data.path=corpus --config.data.first=en
--config.data.second=fr stands for corpus.en and corpus.fr.

Each text is brought near to the other one of its pair and away from those of
other pairs in its batch, so that a larger batch teaches more. With
--config.data.score=COLUMN pairs have a similarity, of at most
--config.data.largest_score=5, which the cosine of both texts learns instead.
The exported folder is one of sentence-transformers.
"""

from dlcore import experiment

PLAN = experiment.Plan(
  batch_size=64,
  epochs=1.0,
  examples=2000,
  least_batch=8,  # A pair is compared with the others of its batch.
  least_epochs=1.0,
  most_epochs=10.0,
)


def get_config(variant=""):
  """Returns the config that `plan` completes."""
  experiment.no_variant(variant)
  return experiment.config(
    data={
      "name": "similar_texts",
      "batch_size": PLAN.batch_size,
      "sampling": "bucketed",
    },
    model={"name": "bert_base", "head": "embedding", "poolings": ("mean",)},
    task={"name": "text_embedding"},
    optim={
      "name": "adamw",
      "learning_rate": 2e-5,
      "weight_decay": 0.01,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine", "warmup": 0.1},
    },
    training={"epochs": PLAN.epochs},
  )


def plan(config, variant):
  """Returns the settings that follow from weights and pairs, by path."""
  del variant
  leaves, train = experiment.follow_source(
    config,
    lambda source: experiment.text_settings(source, "embedding"),
    "configs/text.py",
  )
  return leaves | (PLAN.leaves(config, train.size) if train else {})

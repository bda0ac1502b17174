"""Your own texts: classes, several labels or numbers from texts or pairs.

experiments/train.py --config=configs/text.py --workdir=runs/mine \
  --config.data.path=FILE --config.data.text=COLUMN --config.data.target=COLUMN

experiments/train.py --config=configs/text.py:gru ...

FILE is CSV, TSV, JSON lines (also .gz), Parquet or Arrow; in place of
`data.path` there may be `data.train`, `data.valid` and `data.test`, and
`data.pair` names the column of a second text. With --config.data.name=
text_folder, `data.path` is a folder with `CLASS/*.txt` or `train/CLASS/*.txt`.
Published texts are those of TFDS, such as --config.data.name=imdb_reviews,
ag_news_subset, glue/sst2, and the pairs of glue/mnli and glue/stsb, or
--config.data.name=tfds_text --config.data.builder=NAME.

The kind of task follows from the target, and the number of steps from the
number of training texts.

The model is a bag of hashed n-grams, `:gru` a bidirectional GRU, which reads
the words in their order and takes several times as long. `data.tokenizer` may
be "characters" or "bytes", or a tokenizer.json of train_tokenizer.py.
"""

from dlcore import experiment
from dlcore.errors import lookup

BAG = {
  "name": "ngram_bag",
  "ngrams": (1, 2),
  "ngram_dropout": 0.3,
  "dropout": 0.3,
}
GRU = {"name": "gru", "width": 64, "bidirectional": True, "dropout": 0.4}
VARIANTS = {"ngram_bag": BAG, "gru": GRU}

NGRAMS = (1, 2, 3, 4, 5)
"""Of characters and bytes."""

PLAN = experiment.Plan(batch_size=64, epochs=10.0, examples=40_000)


def get_config(variant=""):
  """Returns the config of a variant that `plan` completes."""
  name = variant or next(iter(VARIANTS))
  return experiment.config(
    data={
      "name": "text_csv",
      "batch_size": PLAN.batch_size,
      "lowercase": True,
      "max_length": 256,
      "sampling": "bucketed",
    },
    model=lookup(VARIANTS, name, "variant"),
    optim={
      "name": "adamw",
      "learning_rate": 2e-3,
      "weight_decay": 0.01,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine", "warmup": 0.1},
    },
    training={"epochs": PLAN.epochs},
  )


def plan(config, variant):
  """Returns the settings that follow from the training texts, by path."""
  del variant
  train = experiment.training_source(config)
  return decide(train.info.schema, train.size, config) if train else {}


def decide(schema, size, config):
  """Returns the settings for training texts, by path; a pure function.

  Args:
    schema: of the texts.
    size: number of texts.
    config: the complete config, with the overrides of the command line.
  """
  leaves = PLAN.leaves(config, size)
  if schema.multilabel or not schema.classes:
    leaves["task.name"] = "multilabel" if schema.multilabel else "regression"
  symbols = config["data"].get("tokenizer")
  if symbols in ("bytes", "characters") and "ngrams" in config["model"]:
    leaves["model.ngrams"] = NGRAMS
  return leaves

"""Your own pairs of texts: a translator from one to the other.

experiments/train.py --config=configs/translation.py --workdir=runs/mine \
  --config.data.path=FILE --config.data.source=COLUMN \
  --config.data.target=COLUMN

experiments/train.py --config=configs/translation.py:transformer ...

FILE is CSV, TSV, JSON lines (also .gz), Parquet or Arrow. For parallel files as
those of Moses, corpus.en and corpus.fr, it is the name before the suffixes:
--config.data.path=corpus --config.data.source=en --config.data.target=fr. In
place of `data.path` there may be `data.train`, `data.valid` and `data.test`.

Without a path the pairs are 3,752 messages of programs in English and French,
which are in the package: too few to learn a language from, enough to see how a
file is used, and a test for translators of other data. Messages that are in no
training text have many unknown words. For data of your own that is larger, a
tokenizer of subwords is better, trained by experiments/train_tokenizer.py:
--config.data.tokenizer=FILE.json.

The metrics are chrF, which chooses the checkpoint, and BLEU. They need the
extra `translation`. The number of steps follows from the number of pairs.

Measured on AMD EPYC (family 25 model 17, AVX-512), 1 core, 2026-11-30, commit
a80a950: test chrf 32.772 ± 4.709, bleu 15.615 ± 3.873, of the sources chrf
26.036, of 3 seeds, in 13.8 to 14.7 minutes from the command to its exit.
"""

from pathlib import Path

from dlcore import data, experiment
from dlcore.errors import lookup

VARIANTS = {
  # model, learning rate
  "seq2seq": (
    {"name": "seq2seq", "width": 192, "attention": "general", "dropout": 0.3},
    2e-3,
  ),
  "transformer": (
    {
      "name": "transformer_base",
      "width": 192,
      "depth": 2,
      "num_heads": 4,
      "mlp_dim": 512,
      "max_length": 128,
      "pre_norm": True,
      "dropout": 0.3,
    },
    1e-3,
  ),
}
"""Model and learning rate by variant; the default is the first."""

MESSAGES = (
  Path(data.__file__).parent / "text" / "files" / "catalog_pairs.csv.gz"
)

PLAN = experiment.Plan(batch_size=64, epochs=10.0, examples=100_000)


def get_config(variant=""):
  """Returns the config of a variant that `plan` completes."""
  model, learning_rate = lookup(
    VARIANTS, variant or next(iter(VARIANTS)), "variant"
  )
  return experiment.config(
    data={
      "name": "text_pairs",
      "source": "english",
      "target": "french",
      "min_count": 1,
      "batch_size": PLAN.batch_size,
      "sampling": "bucketed",
    },
    model=model,
    task={
      "name": "sequence_to_sequence",
      "metrics": ("chrf", "bleu"),
      "label_smoothing": 0.1,
    },
    optim={
      "name": "adam",
      "learning_rate": learning_rate,
      "b2": 0.98,
      "clip_norm": 1.0,
      "schedule": {"name": "warmup_cosine", "warmup": 0.1},
    },
    training={"epochs": PLAN.epochs, "best_by": "chrf"},
  )


def plan(config, variant):
  """Returns the settings that follow from the training pairs, by path."""
  del variant
  section, leaves = dict(config["data"]), {}
  if section["name"] == "text_pairs" and not section["path"] + section["train"]:
    section["path"] = leaves["data.path"] = str(MESSAGES)
  train = experiment.training_source({**config, "data": section})
  return leaves | (PLAN.leaves(config, train.size) if train else {})

"""Fine-tunes a published encoder of texts on few and many reviews.

  transfer_texts.py --weights=DIR [--sizes=8,64] [--only=setfit]
  transfer_texts.py --weights=DIR --sizes=8 --only=setfit --development \
    --settings=optim.learning_rate=3e-4

DIR is a folder such as that of all-MiniLM-L6-v2. Each strategy of `STRATEGIES`
trains a classifier of `data.reviews` with configs/transfer_text.py, on random
subsets of 8, 64 and 512 reviews of each class, one subset for each seed, and on
all of train and valid. The baseline is logistic regression on TF-IDF features
of 1 to 2 words and 2 to 5 characters, fitted to the same subsets. Its C is
chosen by cross-validation. A paired bootstrap over seeds and examples compares
the test accuracies, and the AUC. Strategies with "_described" have the rows of
`DESCRIPTIONS` as further training texts, and so has their baseline.

--development evaluates two other subsets on 800 reviews of train that they do
not contain, and writes no results; it is for choosing the settings of the
config. --workdir keeps finished runs; --output is read by
experiments/results.py.
"""

import json
import statistics
from pathlib import Path

import labelled_texts
import numpy as np
import timed_runs
from absl import flags
from frozen_rows import join
from paired_bootstrap import auc, compare, compare_auc

from dlcore import command, data
from dlcore.data.text.frozen import load_table

DESCRIPTIONS = (
  ("This product is great.", "great"),
  ("I love it, five stars, the best I have ever had.", "great"),
  ("great", "great"),
  ("Excellent! Highly recommend, will buy again.", "great"),
  ("My favorite. Perfect and delicious.", "great"),
  ("This product is not great, it is only okay.", "other"),
  ("I am disappointed.", "other"),
  ("other", "other"),
  ("It was okay, but I would not buy it again.", "other"),
  ("It tastes bad and is a waste of money.", "other"),
)
"""Texts that say what the classes are, as a user may write them."""

DESCRIBED = "_described"
STRATEGIES = (
  *("head", "setfit", "fine_tune", "full", "scratch"),
  f"setfit{DESCRIBED}",
)
SIZES = ("8", "64", "512", "all")
"""Reviews of each class."""

SEEDS = 5
LENGTH = 128
"""Tokens of a review that an encoder sees; 22% of the reviews are longer."""

DEVELOPMENT = 800
DEVELOPMENT_DRAWS = 2

WORKDIR = flags.DEFINE_string("workdir", "runs/transfer_texts", "a folder")
WEIGHTS = flags.DEFINE_string("weights", None, "the published encoder")
ONLY = flags.DEFINE_list("only", list(STRATEGIES), "some of the strategies")
ONLY_SIZES = flags.DEFINE_list("sizes", list(SIZES), "some of the sizes")
COUNT = flags.DEFINE_integer("seeds", SEEDS, "number of draws")
SETTINGS = flags.DEFINE_list("settings", [], "settings of the runs, path=value")
IN_DEVELOPMENT = flags.DEFINE_bool("development", False, "see above")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/transfer_texts.json", "the file of results"
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  command.required(WEIGHTS)
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  draws = DEVELOPMENT_DRAWS if IN_DEVELOPMENT.value else COUNT.value
  for size in ONLY_SIZES.value:
    by_strategy = results.setdefault(size, {})
    for kind in ("", DESCRIBED):
      strategies = [name for name in ONLY.value if _kind(name) == kind]
      if not strategies:
        continue
      files = [write_draw(size, draw, kind) for draw in range(draws)]
      peers = [labelled_texts.fit_linear(*pair) for pair in files]
      by_strategy[f"tfidf{kind}"] = {
        "accuracy": [float(peer.correct.mean()) for peer in peers],
        "auc": [
          float(auc(peer.scores[None], peer.labels)[0]) for peer in peers
        ],
      }
      print(size, f"tfidf{kind}", by_strategy[f"tfidf{kind}"], flush=True)
      for name in strategies:
        runs = [
          _run(name, size, draw, *pair) for draw, pair in enumerate(files)
        ]
        own = [labelled_texts.read_run(run, files[0][1]) for _, run in runs]
        result = timed_runs.of_seeds([summary for summary, _ in runs])
        result |= _than_peers(own, peers)
        by_strategy[name] = result
        mean = statistics.mean(result["metrics"]["test/accuracy"])
        print(size, name, f"{mean:.4f}", result["than_peer"],
              result["auc_than_peer"], flush=True)  # fmt: skip
        if not IN_DEVELOPMENT.value:
          output.write_text(json.dumps(results, indent=1) + "\n")


def _than_peers(
  own: list[labelled_texts.Scored], peers: list[labelled_texts.Scored]
) -> dict[str, dict]:
  """Returns the differences of accuracy and AUC from the peers of draws."""
  correct = [np.array([one.correct for one in of]) for of in (own, peers)]
  scores = [np.array([one.scores for one in of]) for of in (own, peers)]
  return {
    "than_peer": compare(*correct),
    "auc_than_peer": compare_auc(*scores, own[0].labels),
  }


def _kind(name: str) -> str:
  return DESCRIBED if name.endswith(DESCRIBED) else ""


def write_draw(size: str, draw: int, kind: str) -> tuple[Path, Path]:
  """Writes the reviews of a draw, and those that it is scored on, as CSV.

  Args:
    size: number of reviews of each class, or "all".
    draw: number of the draw.
    kind: `DESCRIBED` to add `DESCRIPTIONS` to the former, else empty.

  Returns:
    The paths of both files.
  """
  splits = data.load("reviews")
  table = load_table("reviews")
  rows, labels = join(splits.train, splits.valid)
  held, _ = join(splits.test)
  folder = Path(WORKDIR.value).absolute() / "data"
  if IN_DEVELOPMENT.value:
    order = np.random.default_rng(0).permutation(len(rows))
    held = rows[order[:DEVELOPMENT]]
    rows, labels = rows[order[DEVELOPMENT:]], labels[order[DEVELOPMENT:]]
    folder /= "development"
  if size != "all":
    generator = np.random.default_rng([draw, int(size), IN_DEVELOPMENT.value])
    rows = np.concatenate(
      [
        generator.permutation(rows[labels == label])[: int(size)]
        for label in np.unique(labels)
      ]
    )
  files = folder / f"{size}_{draw}{kind}.csv", folder / "held.csv"
  further = DESCRIPTIONS if kind else ()
  for file, chosen, added in zip(
    files, (rows, held), (further, ()), strict=True
  ):
    labelled_texts.write(
      file, (*((table["text"][i], table["label"][i]) for i in chosen), *added)
    )
  return files


def _run(
  name: str, size: str, draw: int, train: Path, held: Path
) -> tuple[dict, Path]:
  """Returns the summary of a run, of which there is no validation."""
  settings = dict(item.split("=", 1) for item in SETTINGS.value)
  parts = [name, size, str(draw), *SETTINGS.value]
  folder = train.parent.parent / "_".join(parts).replace("=", "_")
  summary = timed_runs.finish(
    "transfer_text",
    folder,
    draw,
    {
      "init.source": Path(WEIGHTS.value).absolute(),
      "init.strategy": name.removesuffix(DESCRIBED),
      "data.train": train,
      "data.test": held,
      "data.max_length": LENGTH,
      "task.metrics": ("roc_auc",),
      **labelled_texts.SETTINGS,
      **settings,
    },
  )
  return summary, folder


if __name__ == "__main__":
  command.run(main)

"""Trains the text configs with several seeds, and compares them with peers.

  text_peers.py
  stress_peers.py
  text_scores.py [--only=language_id:gru,pronounce]

Each run is the command that a user would type, timed from its start to its
exit; runs follow one another. Several of these commands on cores of their own
(taskset) may fill one --workdir; a last one then reads all its runs.

Where the first two scripts have fitted a linear model of scikit-learn to the
same examples, the test accuracy is compared with that of it. The 95% interval
of the difference is a bootstrap over seeds and test examples (of `stress`
vowels), and a config is "better" or "worse" if it excludes 0, and "equal"
otherwise. --output is read by experiments/results.py.
"""

import json
import re
import statistics
from pathlib import Path

import numpy as np
import timed_runs
from absl import flags
from paired_bootstrap import compare

import dlcore
from dlcore import command, data, metrics
from dlcore.data.info import IGNORED, LABELS
from dlcore.errors import lookup

TEXT_MODELS = ("ngram_bag", "text_cnn", "rnn", "lstm", "gru", "transformer")
RUNS: dict[str, int] = {
  **{f"language_id:{name}": 5 for name in ("ngram_cnn", *TEXT_MODELS)},
  "language_id:ngram_cnn train+valid": 5,
  **{f"reviews:{name}": 5 for name in TEXT_MODELS},
  "reviews:ngram_bag train+valid": 5,
  "stress:lstm": 5,
  "stress:transformer": 5,
  "docs_lm:lstm": 3,
  "docs_lm:gpt2": 3,
  "docs_lm:llama": 3,
  "docs_lm:long": 3,
  "docs_mlm": 3,
  "numbers_translate:seq2seq": 5,
  "numbers_translate:transformer": 5,
  "translation:seq2seq": 3,
  "translation:transformer": 3,
  "pronounce:seq2seq": 3,
  "pronounce:transformer": 3,
}
"""The number of seeds of each config, its variant and a key of `CHANGES`."""

CHANGES = {
  "": {},
  "train+valid": {"data.valid_fraction": 0.0, "training.best_by": "-loss"},
}
"""Settings by path. The linear models have the examples of valid too, and
without these examples nothing is chosen in a run: the last step counts."""

LONGER = "numbers_translate"
"""The config whose runs are evaluated on numbers longer than any in train."""

COPIED = "translation"
"""The config whose scores are compared with those of the sources themselves:
French and English have many words in common."""

PEER_FILES = {
  "language_id": "text_peers/language_id.npz",
  "reviews": "text_peers/reviews.npz",
  "stress": "stress_peers/logistic_regression.npz",
}
"""Predictions of the linear models, in --peers."""

WORKDIR = flags.DEFINE_string("workdir", "runs/text_scores", "folder of runs")
PEERS = flags.DEFINE_string(
  "peers", "runs", "folder of the folders of the other scripts"
)
ONLY = flags.DEFINE_list("only", [], "some of the configs")
SEEDS = flags.DEFINE_integer("seeds", 0, "number of seeds; 0 for all")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/text_scores.json", "the file of the results"
)


def main():
  """Finishes the runs in --workdir and writes --output."""
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  for name in ONLY.value or RUNS:
    count = SEEDS.value or lookup(RUNS, name, "config")
    folders = [
      Path(WORKDIR.value) / f"{re.sub('[: +]', '_', name)}_{seed}"
      for seed in range(count)
    ]
    results[name] = measure(name, folders)
    means = {
      metric: round(statistics.mean(values), 4)
      for metric, values in results[name]["metrics"].items()
    }
    print(name, means, results[name].get("than_peer", ""), flush=True)
    ordered = {key: results[key] for key in RUNS if key in results}
    output.write_text(json.dumps(ordered, indent=1) + "\n")


def measure(name: str, folders: list[Path]) -> dict:
  """Returns what the runs of a config have measured, one folder per seed."""
  recipe, _, change = name.partition(" ")
  result = timed_runs.of_seeds(
    [
      timed_runs.finish(recipe, folder, seed, CHANGES[change])
      for seed, folder in enumerate(folders)
    ]
  )
  config, *_ = name.partition(":")
  if config == LONGER:
    longer = data.load("number_words", test="longer").test
    scores = [dlcore.load(folder).evaluate(longer) for folder in folders]
    for metric in scores[0]:
      values = [score[metric] for score in scores]
      result["metrics"][f"longer/{metric}"] = values
  if config == COPIED:
    scores = score_of_copies(folders[0])
    result["metrics"] |= {f"copy/{k}": [v] for k, v in scores.items()}
  if config in PEER_FILES:
    file = Path(PEERS.value) / PEER_FILES[config]
    result["than_peer"] = compare_with_peer(file, folders)
  return result


def score_of_copies(folder: Path) -> dict[str, float]:
  """Returns the scores of the test sources as their own translations."""
  own = json.loads((folder / "config.json").read_text())["data"]
  # Bytes spell all words, and the split is that of any tokens.
  settings = {name: own[name] for name in ("path", "source", "target")}
  test = data.load(
    "text_pairs", **settings, tokenizer="bytes", max_length=1024
  ).test
  schema = test.info.schema
  sources = schema.display(test.read(np.arange(test.size, dtype=np.int32)))
  targets = data.read_all(test, exclude=test.info.inputs)[LABELS]
  decode = schema.output_tokenizer.decode
  references = [[decode(row[row != IGNORED].tolist())] for row in targets]
  return metrics.translation_scores(
    ("chrf", "bleu"), sources.tolist(), references
  )


def compare_with_peer(file: Path, folders: list[Path]) -> dict:
  """Returns the paired comparison of the test accuracy with the peer's."""
  with np.load(file) as peer:
    labels, theirs = peer["label"], peer["prediction"]
  correct = []
  for folder in folders:
    with np.load(folder / "assets" / "predictions.npz") as own:
      np.testing.assert_array_equal(own["label"], labels)
      correct.append(own["prediction"] == labels)
  return compare(np.array(correct), theirs == labels)


if __name__ == "__main__":
  command.run(main)

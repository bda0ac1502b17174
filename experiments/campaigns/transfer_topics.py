"""Classifies paragraphs by topic, with and without a language model of others.

  transfer_topics.py [--sizes=4,16] [--only=fine_tune]

The topics are the longest chapters of `data.docs_text`, whose paragraphs are
split at random. A character LSTM (configs/docs_lm.py) is trained on all
paragraphs that are not held out. With configs/transfer_text.py it becomes a
classifier, which 4, 16 and all other paragraphs of each topic train; `scratch`
begins with random weights. The frozen text has no paragraph twice; held-out
paragraphs half of whose word 5-grams occur elsewhere are dropped too.

For each strategy and size, the learning rate is the one with the best accuracy
on held-out paragraphs for development. The test paragraphs are evaluated after
that, with `SEEDS` other draws. A paired bootstrap compares strategies with
`scratch`, and the baseline of `labelled_texts.py` is fitted to the same
paragraphs. Each run is the command that a user would type; --workdir keeps
finished runs. --output is read by experiments/results.py.
"""

import collections
import json
import re
import statistics
from functools import partial
from pathlib import Path
from typing import NamedTuple

import labelled_texts
import numpy as np
import timed_runs
from absl import flags
from paired_bootstrap import add_result, compare

from dlcore import command
from dlcore.data.text import frozen

SIZES = ("4", "16", "all")
"""Paragraphs of each topic."""

FIRST_RATES = {"scratch": 2e-3, "fine_tune": 8e-3, "full": 2e-3}
"""To begin the search for the best one with."""

TUNING, SEEDS = 1, 5
EPOCHS = 30.0
LENGTH = 512
"""Characters of a paragraph that count; nine tenths of them are shorter."""

LEAST_CHARACTERS, LEAST_PARAGRAPHS = 100, 30
"""Of a paragraph, and of a topic."""

HELD_OUT = {"test": 0.2, "development": 0.1}
"""Shares of the paragraphs of a topic."""

GRAM, SHARED = 5, 0.5
"""Words of an n-gram, and the share of known ones of a copy."""

WORKDIR = flags.DEFINE_string("workdir", "runs/transfer_topics", "a folder")
ONLY = flags.DEFINE_list("only", list(FIRST_RATES), "some of the strategies")
ONLY_SIZES = flags.DEFINE_list("sizes", list(SIZES), "some of the sizes")
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/transfer_topics.json", "the file of results"
)


class Parts(NamedTuple):
  """Paragraphs with their topics, and the text of a language model."""

  train: list[tuple[str, str]]
  development: list[tuple[str, str]]
  test: list[tuple[str, str]]
  text: str
  copies: int
  """Number of held-out paragraphs that were dropped."""


def main():
  """Finishes the runs in --workdir and writes --output."""
  folder = Path(WORKDIR.value).absolute()
  folder.mkdir(parents=True, exist_ok=True)
  parts = split_paragraphs()
  for name in HELD_OUT:
    labelled_texts.write(folder / f"{name}.csv", getattr(parts, name))
  (folder / "text.txt").write_text(parts.text)
  base = timed_runs.finish(
    "docs_lm:lstm",
    folder / "base",
    0,
    {
      "data.name": "text_file",
      "data.path": folder / "text.txt",
      "data.test_fraction": 0.0,
    },
  )
  output = Path(OUTPUT.value)
  results = json.loads(output.read_text()) if output.exists() else {}
  results["base"] = timed_runs.of_seeds([base])
  results["paragraphs"] = {
    "topics": len({topic for _, topic in parts.train}),
    **{name: len(getattr(parts, name)) for name in ("train", *HELD_OUT)},
    "copies": parts.copies,
  }
  by_size = results.setdefault("sizes", {})
  for size in ONLY_SIZES.value:
    by_strategy = by_size.setdefault(size, {})
    files = [_draw(folder, parts, size, i) for i in range(TUNING + SEEDS)]
    peers = np.array(
      [
        labelled_texts.fit_linear(file, folder / "test.csv").correct
        for file in files[TUNING:]
      ]
    )
    by_strategy["tfidf"] = {"accuracy": peers.mean(1).tolist()}
    for strategy in ONLY.value:
      result = measure(folder, strategy, size, files)
      correct = partial(_correct, folder, size)
      result["than_peer"] = compare(correct(strategy, result["rate"]), peers)
      add_result(by_strategy, strategy, result, correct)
      mean = statistics.mean(result["metrics"]["test/accuracy"])
      print(size, strategy, f"{mean:.4f}", result["rate"],
            result.get("than_scratch", ""), flush=True)  # fmt: skip
      output.write_text(json.dumps(results, indent=1) + "\n")


def split_paragraphs() -> Parts:
  """Returns the paragraphs of the topics, and all that are not held out."""
  rows, topic = [], ""
  for paragraph in frozen.load_text("docs_text").strip("\n").split("\n\n"):
    lines = paragraph.split("\n")
    is_heading = len(lines) == 2 and re.fullmatch(r"([*=~^-])\1*", lines[1])
    if is_heading and lines[1].startswith("*"):
      topic = lines[0]
    rows.append((paragraph, "" if is_heading else topic))
  long = [i for i, (text, _) in enumerate(rows) if len(text) > LEAST_CHARACTERS]
  counts = collections.Counter(rows[i][1] for i in long if rows[i][1])
  random = np.random.default_rng(0)
  held: dict[str, list[int]] = {name: [] for name in HELD_OUT}
  train: list[int] = []
  for name, count in counts.items():
    if count < LEAST_PARAGRAPHS:
      continue
    rest = random.permutation([i for i in long if rows[i][1] == name]).tolist()
    for part, share in HELD_OUT.items():
      size = round(share * count)
      held[part] += rest[:size]
      rest = rest[size:]
    train += rest
  all_held = {i for rows_held in held.values() for i in rows_held}
  others = [row[0] for i, row in enumerate(rows) if i not in all_held]
  known = {gram for text in others for gram in _grams(text)}
  distinct = {
    name: [i for i in rows_held if not _is_copy(rows[i][0], known)]
    for name, rows_held in held.items()
  }
  return Parts(
    [rows[i] for i in train],
    **{name: [rows[i] for i in chosen] for name, chosen in distinct.items()},
    text="\n\n".join(others) + "\n",
    copies=len(all_held) - sum(map(len, distinct.values())),
  )


def _grams(text: str) -> list[tuple[str, ...]]:
  words = text.split()
  return [
    tuple(words[i : i + GRAM]) for i in range(max(1, len(words) - GRAM + 1))
  ]


def _is_copy(text: str, known: set[tuple[str, ...]]) -> bool:
  """Returns whether the n-grams of a text are mostly known ones."""
  grams = _grams(text)
  return sum(gram in known for gram in grams) >= SHARED * len(grams)


def _draw(folder: Path, parts: Parts, size: str, draw: int) -> Path:
  """Writes the training paragraphs of a draw, and returns the file."""
  chosen = parts.train
  if size != "all":
    topics = np.array([topic for _, topic in parts.train])
    random = np.random.default_rng([draw, int(size)])
    chosen = [
      parts.train[i]
      for topic in np.unique(topics)
      for i in random.permutation(np.flatnonzero(topics == topic))[: int(size)]
    ]
  file = folder / "draws" / f"{size}_{draw}.csv"
  labelled_texts.write(file, chosen)
  return file


def measure(folder: Path, strategy: str, size: str, files: list[Path]) -> dict:
  """Returns the scores of a strategy, with the rate that it does best with."""

  def run(draw: int, rate: float) -> dict:
    held = "development" if draw < TUNING else "test"
    return timed_runs.finish(
      "transfer_text",
      _run_folder(folder, strategy, size, draw, rate),
      draw,
      {
        "init.source": folder / "base",
        "init.strategy": strategy,
        "data.train": files[draw],
        "data.test": folder / f"{held}.csv",
        "data.max_length": LENGTH,
        **labelled_texts.SETTINGS,
        "optim.learning_rate": rate,
        "training.epochs": EPOCHS,
      },
    )

  return timed_runs.with_best_rate(
    run, FIRST_RATES[strategy], tuning=TUNING, draws=SEEDS
  )


def _run_folder(
  folder: Path, strategy: str, size: str, draw: int, rate: float
) -> Path:
  return folder / f"{strategy}_{size}_{draw}_{rate:g}"


def _correct(folder: Path, size: str, strategy: str, rate: float) -> np.ndarray:
  """Returns which test paragraphs the runs classify correctly, `[S, N]`."""
  return np.array(
    [
      labelled_texts.read_run(
        _run_folder(folder, strategy, size, draw, rate), folder / "test.csv"
      ).correct
      for draw in range(TUNING, TUNING + SEEDS)
    ]
  )


if __name__ == "__main__":
  command.run(main)

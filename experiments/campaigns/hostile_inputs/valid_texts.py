"""Valid files of texts in every format, and the configs of runs on them."""

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.data import DATASETS

WORDS = {"good": ("fine", "bright", "warm", "kind"),
         "bad": ("dull", "cold", "grim", "poor")}  # fmt: skip
NOUNS = ("film", "book", "café", "meal", "song", "naïve tale")
FRENCH = {"film": "le film", "book": "le livre", "café": "le café",
          "meal": "le repas", "song": "la chanson",
          "naïve tale": "le conte naïf"}  # fmt: skip
ROWS = 72


class Format(NamedTuple):
  """A format of texts, and how it is loaded."""

  data: str
  """The data set."""

  files: tuple[str, ...]
  """Names in the folder of the valid inputs."""

  settings: Mapping[str, Any] = {}
  """Of the data set, without paths."""

  run: str = ""
  """The run on this kind of data, whose config trains on a file."""

  @property
  def keywords(self) -> Mapping[str, Any]:
    """The settings of the data set with their defaults."""
    return DATASETS[self.data].__kwdefaults__

  @property
  def path(self) -> str:
    """Name of the setting `path`: of parallel files their beginning."""
    name = self.files[0]
    return name.removesuffix(".en") if name.endswith(".en") else name


COLUMNS = {"text": "text", "target": "answer"}
PAIRS = {"source": "en", "target": "fr"}
SIMILAR = {"first": "en", "second": "fr"}
FORMATS = {
  "table": Format("text_csv", ("reviews.csv",), COLUMNS, "reviews"),
  "JSON lines": Format("text_csv", ("reviews.jsonl",), COLUMNS, "reviews"),
  "folder": Format("text_folder", ("letters",), {}, "letters"),
  "running text": Format("text_file", ("story.txt",), {}, "story"),
  "running JSON": Format("text_file", ("story.jsonl",), {}, "context"),
  "CoNLL": Format("tagged_text", ("tags.txt",), {}, "tags"),
  "tags in JSON": Format("tagged_text", ("tags.jsonl",), {}, "tags"),
  "parallel files": Format(
    "text_pairs", ("pairs.en", "pairs.fr"), PAIRS, "pairs"
  ),
  "table of pairs": Format("text_pairs", ("pairs.csv",), PAIRS, "pairs"),
  "similar texts": Format("similar_texts", ("pairs.csv",), SIMILAR, "encoder"),
  "chats": Format("chat", ("chats.jsonl",), {}, "answers"),
}

CONTEXT = 16
"""Positions of the models with attention."""

SMALL = {"batch_size": 4, "min_count": 1}
ATTENTION = {
  "width": 8,
  "depth": 1,
  "num_heads": 2,
  "max_length": CONTEXT,
}
ROWS_OF_TOKENS = {"batch_size": 4, "max_length": CONTEXT}
RUNS: dict[str, dict[str, Any]] = {
  "reviews": {
    "data": {**SMALL, **COLUMNS, "sampling": "bucketed"},
    "model": {"name": "gru", "width": 4},
  },
  "letters": {
    "data": {**SMALL, "tokenizer": "characters"},
    "model": {"name": "ngram_bag", "width": 4, "buckets": 64},
  },
  "story": {
    "data": {**ROWS_OF_TOKENS, "sampling": "sequential"},
    "model": {"name": "lstm", "head": "lm", "width": 4},
    "task": {"name": "language_model", "carry": True},
  },
  "context": {
    "data": ROWS_OF_TOKENS,
    "model": {**ATTENTION, "name": "gpt2"},
    "task": {"name": "language_model"},
  },
  "masked": {
    "data": ROWS_OF_TOKENS,
    "model": {**ATTENTION, "name": "bert_base", "head": "mlm"},
    "task": {"name": "masked_language_model"},
  },
  "tags": {
    "data": SMALL,
    "model": {"name": "gru", "width": 4, "head": "tokens"},
    "task": {"name": "tagging"},
  },
  "pairs": {
    "data": {**SMALL, **PAIRS, "max_length": CONTEXT},
    "model": {"name": "seq2seq", "width": 4},
    "task": {"name": "sequence_to_sequence"},
  },
  "encoder": {
    "data": {**SMALL, **SIMILAR, "max_length": CONTEXT},
    "model": {
      **ATTENTION,
      "name": "bert_base",
      "head": "embedding",
      "poolings": ("mean",),
    },
    "task": {"name": "text_embedding"},
  },
  "answers": {
    "data": {"batch_size": 4, "max_length": 8 * CONTEXT},
    "model": {**ATTENTION, "name": "gpt2", "max_length": 8 * CONTEXT},
    "task": {"name": "language_model"},
  },
}
"""Sections of the configs of the runs, by name."""

FORMAT_OF = {
  "reviews": "table",
  "letters": "folder",
  "story": "running text",
  "context": "running JSON",
  "masked": "running text",
  "tags": "CoNLL",
  "pairs": "table of pairs",
  "encoder": "similar texts",
  "answers": "chats",
}
"""The format of the data of each run."""


def configs(folder: Path) -> dict[str, dict[str, Any]]:
  """Returns the sections of the runs on the files in a folder."""
  return {
    name: {
      **sections,
      "data": {
        "name": FORMATS[FORMAT_OF[name]].data,
        "path": str(folder / FORMATS[FORMAT_OF[name]].path),
        **sections["data"],
      },
    }
    for name, sections in RUNS.items()
  }


def write(folder: Path) -> None:
  """Writes a file in every format, and a tokenizer.json."""
  from dlcore.data.text import tokenizer_training

  rows = [_row(random.Random(f"text {i}"), i) for i in range(ROWS)]
  _write_lines(
    folder / "reviews.csv",
    ["text,answer", *(f"{text},{answer}" for text, answer, _ in rows)],
  )
  _write_lines(
    folder / "reviews.jsonl",
    [json.dumps({"text": t, "answer": a}) for t, a, _ in rows],
  )
  for number, (text, answer, _) in enumerate(rows):
    (folder / "letters" / answer).mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "letters" / answer / f"{number}.txt", [text])
  _write_lines(folder / "story.txt", [f"{text}.\n" for text, _, _ in rows])
  _write_lines(
    folder / "story.jsonl", [json.dumps({"text": text}) for text, _, _ in rows]
  )
  _write_lines(
    folder / "chats.jsonl",
    [
      json.dumps({"instruction": f"Is the {text}?", "output": answer})
      for text, answer, _ in rows
    ],
  )
  tags = [[(w, w[0].upper()) for w in text.split()] for text, _, _ in rows]
  _write_lines(
    folder / "tags.txt",
    ["\n".join(f"{w}\t{tag}" for w, tag in row) + "\n" for row in tags],
  )
  _write_lines(
    folder / "tags.jsonl",
    [
      json.dumps({"tokens": [w for w, _ in row], "tags": [t for _, t in row]})
      for row in tags
    ],
  )
  _write_lines(folder / "pairs.en", [text for text, _, _ in rows])
  _write_lines(folder / "pairs.fr", [french for _, _, french in rows])
  _write_lines(
    folder / "pairs.csv",
    ["en,fr", *(f"{text},{french}" for text, _, french in rows)],
  )
  tokenizer = tokenizer_training.train_tokenizer(
    [text for text, _, _ in rows], vocab_size=300
  )
  (folder / "tokenizer.json").write_bytes(tokenizer.to_file())


def _row(generator: random.Random, number: int) -> tuple[str, str, str]:
  """Returns a text, its class and its translation."""
  answer = ("good", "bad")[number % 2]
  noun = generator.choice(NOUNS)
  words = generator.sample(WORDS[answer], generator.choice((1, 2, 3)))
  text = f"the {' '.join(words)} {noun} number {number}"
  return text, answer, f"{FRENCH[noun]} {number} {len(words)}"


def _write_lines(path: Path, lines: list[str]) -> None:
  path.write_text("\n".join(lines) + "\n", encoding="utf-8")

"""Fits n-gram models and compressors to the text of configs/docs_lm.py.

  uv run --with pyppmd experiments/campaigns/language_model_peers.py

Each has the characters of train and is measured in bits per character on those
of valid and test, all as `data.load` returns them:

- an n-gram model of characters with the smoothing of Witten & Bell 1991, "The
  zero-frequency problem";
- gzip and xz, and PPMd (Cleary & Witten 1984, "Data compression using adaptive
  coding and partial string matching") at some orders. The size of the text is
  that of train and text in one file, less that of train; gzip, whose window is
  short, has the text alone. They adapt to the text while they encode it, the
  n-gram model and a language model of dlcore do not.

--output has the results.
"""

import gzip
import json
import lzma
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pyppmd
from absl import flags

from dlcore import command, data
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
NGRAMS = (3, 4, 5, 6, 8)
PPM_ORDERS = (4, 6, 8, 16)

OUTPUT = flags.DEFINE_string(
  "output",
  "experiments/results/language_model_peers.json",
  "the file of the results",
)


def main():
  """Writes --output."""
  splits = data.load("docs_text")
  texts = {name: join(split) for name, split in splits._asdict().items()}
  train = texts.pop("train")
  results: dict = {"characters of train": len(train)}
  for name, text in texts.items():
    results[name] = {
      "characters": len(text),
      "bits_per_character": measure(train, text),
    }
    print(name, json.dumps(results[name], indent=1), flush=True)
  results |= {"pyppmd": pyppmd.__version__, **provenance(ROOT)}
  Path(OUTPUT.value).write_text(json.dumps(results, indent=1) + "\n")


def join(source: data.Source) -> str:
  """Returns the characters of all rows."""
  tokenizer = source.info.schema.tokenizer
  return "".join(map(tokenizer.decode, source.arrays["input_ids"].tolist()))


def measure(train: str, text: str) -> dict[str, float]:
  """Returns the bits per character by method."""
  results = {
    f"{order}-gram": ngram_bits(train, text, order) / len(text)
    for order in NGRAMS
  }
  results["gzip alone"] = 8 * len(gzip.compress(text.encode(), 9)) / len(text)
  for name, compress in compressors().items():
    size = compress((train + text).encode()) - compress(train.encode())
    results[name] = 8 * size / len(text)
  return results


def compressors() -> dict[str, Callable[[bytes], int]]:
  """Returns functions from bytes to the size of their compressed form."""

  def xz(content: bytes) -> int:
    return len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))

  def ppmd(order: int) -> Callable[[bytes], int]:
    def size(content: bytes) -> int:
      encoder = pyppmd.Ppmd7Encoder(order, 256 << 20)
      return len(encoder.encode(content) + encoder.flush())

    return size

  return {"xz": xz} | {f"PPMd, order {n}": ppmd(n) for n in PPM_ORDERS}


def ngram_bits(train: str, text: str, order: int) -> float:
  """Returns the bits of a text under an n-gram model.

  The probability of a character c after a context of N characters in train,
  which T different characters followed, is (count of c + T * p) / (N + T),
  where p is its probability after the context without the first character, and
  after no character 1 / (number of characters + 1).
  """
  counts: defaultdict[str, Counter] = defaultdict(Counter)
  for length in range(order):
    for i in range(length, len(train)):
      counts[train[i - length : i]][train[i]] += 1
  totals = {context: count.total() for context, count in counts.items()}
  bits = 0.0
  for i, character in enumerate(text):
    probability = 1 / (len(counts[""]) + 1)
    for length in range(min(order, i + 1)):
      context = text[i - length : i]
      if context not in totals:
        break
      followers = counts[context]
      mass = followers[character] + len(followers) * probability
      probability = mass / (totals[context] + len(followers))
    bits -= math.log2(probability)
  return bits


if __name__ == "__main__":
  command.run(main)

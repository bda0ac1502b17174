"""Hostile tokenizers, and sequences that they encode and decode."""

import base64
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_inputs.case import EXTREMES, Case, Kind, nested, write_json
from hostile_inputs.mutations import mutate as mutate_folder

from dlcore import transfer

FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"
TEXTS = ("deep learning", "", "a" * 40 + "!", "\0\u200d\u0301", "🙂" * 50)


def write(folder: Path, generator: random.Random, valid: Path) -> Path:
  """Copies one of the valid tokenizers."""
  name = generator.choice(sorted(p.name for p in (valid / "texts").iterdir()))
  return Path(shutil.copytree(valid / "texts" / name, folder / "texts"))


def text_case(root: Path, texts: tuple = TEXTS, ids: Any = None) -> Case:
  """Returns the case that loads a tokenizer, encodes and decodes."""

  def call() -> None:
    tokenizer = transfer.load_tokenizer(root)
    batch = tokenizer.encode(list(texts))
    tokenizer.encode(list(texts), list(texts), max_length=16)
    tokenizer.decode(batch["input_ids"] if ids is None else ids)

  return Case(call)


def changed(change: Callable[[dict[str, Any], random.Random], Any]):
  """Returns the generator of a tokenizer whose JSON is changed."""

  def make(folder: Path, generator: random.Random, valid: Path) -> Case:
    root = write(folder, generator, valid)
    content = json.loads((root / FILE).read_text())
    change(content, generator)
    write_json(root / FILE, content)
    return text_case(root)

  return make


def regex(content: dict[str, Any], generator: random.Random) -> None:
  """A pattern that takes exponential time, or is invalid."""
  patterns = ("(a+)+$", "(a|aa)+$", "(a*)*b", "(?:a?){40}a{40}", "(", "[", "")
  pattern = {"Regex": generator.choice(patterns)}
  split = {
    "type": "Split",
    "pattern": pattern,
    "behavior": "Isolated",
    "invert": False,
  }
  replace = {"type": "Replace", "pattern": pattern, "content": "b"}
  name = generator.choice(("pre_tokenizer", "normalizer"))
  content[name] = split if name == "pre_tokenizer" else replace


def expansion(content: dict[str, Any], generator: random.Random) -> None:
  """Replacements that double a text again and again."""
  double = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
  prepend = {"type": "Prepend", "prepend": "a" * 10_000_000}
  steps = generator.choice(([double] * 40, [prepend] * 50))
  content["normalizer"] = {"type": "Sequence", "normalizers": steps}


def unknown_token(content: dict[str, Any], generator: random.Random) -> None:
  """An unknown token that the vocabulary lacks."""
  content["model"]["unk_token"] = generator.choice(("[NONE]", None, "", 1))
  content["model"]["unk_id"] = generator.choice((None, -1, 10**6, 2**64))


def large_ids(content: dict[str, Any], generator: random.Random) -> None:
  """Ids beyond int32, repeated and with gaps."""
  vocab = content["model"].get("vocab")
  value = generator.choice((2**31 - 1, 2**31, 2**32 - 1, 2**32, -1, 10**7, 0.5))
  if isinstance(vocab, dict):
    for name in generator.sample(sorted(vocab), 3):
      vocab[name] = value
  for token in content.get("added_tokens", ())[:1]:
    token["id"] = value


def charsmap(content: dict[str, Any], generator: random.Random) -> None:
  """A damaged map of characters of SentencePiece."""
  size = generator.choice((0, 1, 4, 100, 2**31 - 1, 2**32 - 1))
  raw = size.to_bytes(4, "little") + generator.randbytes(
    generator.choice((0, 64))
  )
  text = generator.choice((base64.b64encode(raw).decode(), "!", ""))
  content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": text}


def template(content: dict[str, Any], generator: random.Random) -> None:
  """A template with an id or token that does not exist."""
  token = {
    "SpecialToken": {"id": "[X]", "type_id": generator.choice((0, 2**31))}
  }
  sequence = {"Sequence": {"id": generator.choice("AB"), "type_id": 0}}
  known = {
    "[X]": {
      "id": "[X]",
      "ids": [generator.choice((5, 10**6, 2**32 - 1))],
      "tokens": ["[X]"],
    }
  }
  content["post_processor"] = {
    "type": "TemplateProcessing",
    "single": [token, *[sequence] * generator.choice((1, 2, 1000))],
    "pair": [token, sequence],
    "special_tokens": generator.choice(({}, known)),
  }


def extreme(content: dict[str, Any], generator: random.Random) -> None:
  """Any field with an extreme value."""
  places = [
    content,
    *(v for v in content.values() if isinstance(v, dict) and v),
  ]
  place = generator.choice(places)
  padding = {
    "strategy": {"Fixed": 2**40},
    "direction": "Left",
    "pad_to_multiple_of": 0,
    "pad_id": 2**32 - 1,
    "pad_type_id": 0,
    "pad_token": "[PAD]",
  }
  truncation = {
    "direction": "Right",
    "max_length": 0,
    "strategy": "LongestFirst",
    "stride": 2**40,
  }
  place[generator.choice(sorted(place))] = generator.choice(
    (*EXTREMES, padding, truncation)
  )
  if generator.random() < 0.3:
    content |= {"padding": padding, "truncation": truncation}


def depth(folder: Path, generator: random.Random, valid: Path) -> Case:
  """JSON of great depth."""
  root = write(folder, generator, valid)
  name = generator.choice((FILE, CONFIG))
  text = nested(generator.choice((500, 900, 100_000)))
  step = {"type": "Sequence", "normalizers": []}
  value: dict[str, Any] = step
  for _ in range(100):
    value = {**step, "normalizers": [value]}
  inner = generator.choice((text, json.dumps(value)))
  whole = json.loads((root / FILE).read_text())
  whole["normalizer"] = 0
  content = json.dumps(whole).replace(
    '"normalizer": 0', f'"normalizer": {inner}'
  )
  (root / name).write_text(content if name == FILE else f'{{"a": {text}}}')
  return text_case(root)


def config(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Extreme settings in tokenizer_config.json."""
  root = write(folder, generator, valid)
  names = ("pad_token", "padding_side", "clean_up_tokenization_spaces",
           "added_tokens_decoder", "model_max_length", "eos_token")  # fmt: skip
  content = {n: generator.choice(EXTREMES) for n in generator.sample(names, 2)}
  write_json(root / CONFIG, content)
  return text_case(root)


def sequences(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Texts and ids that no tokenizer expects."""
  root = write(folder, generator, valid)
  texts = generator.choice(
    (("a" * 2_000_000,), ("\ud800",), (None,), (b"a",), ("a",) * 100_000, (1,))
  )
  ids = generator.choice(
    ([[-100]], [[2**40]], [[10**6]], [[float("nan")]], [["a"]], [[None]], [3])
  )
  if generator.random() < 0.5:
    return text_case(root, ids=ids)
  return text_case(root, texts)


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A tokenizer that was mutated."""
  root = write(folder, generator, valid)
  mutate_folder(root, generator)
  return text_case(root)


KIND = Kind(
  {
    "regex": changed(regex),
    "expansion": changed(expansion),
    "unknown token": changed(unknown_token),
    "large ids": changed(large_ids),
    "charsmap": changed(charsmap),
    "template": changed(template),
    "depth": depth,
    "extreme": changed(extreme),
    "config": config,
    "sequences": sequences,
  },
  mutate,
)

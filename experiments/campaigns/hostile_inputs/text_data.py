"""Hostile data sets of texts: damaged files, paths, settings and splits."""

import gzip
import os
import random
import shutil
from pathlib import Path

from hostile_inputs import chat_templates, text_damages
from hostile_inputs.case import Case, Kind
from hostile_inputs.mutations import mutate_bytes, mutate_entry
from hostile_inputs.text_cases import either, load_case, mild_settings, write
from hostile_inputs.text_damages import TABLES
from hostile_inputs.valid_texts import FORMATS

FILES = tuple(name for name in FORMATS if name != "folder")
"""The formats that are no folder."""


def few(folder: Path, generator: random.Random, valid: Path) -> Case:
  """So few examples that a split, a batch or a bucket lacks some."""
  name = generator.choice(FILES)
  count = generator.choice((1, 2, 3, 4, 5, 8))
  for path in write(name, folder, valid):
    end = "\n\n" if name in ("CoNLL", "running text") else "\n"
    parts = path.read_text().split(end)[: count + (name in TABLES)]
    path.write_text(end.join(parts) + end)
  return either(name, folder, generator, valid)


def compressed(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Names that contradict the content: plain .gz, or gzip without .gz."""
  name = generator.choice(tuple(n for n in FILES if n != "parallel files"))
  [path] = write(name, folder, valid)
  content = path.read_bytes()
  packed = gzip.compress(content)
  plain = (packed, b"PK\3\4")
  zipped = (packed, packed[:-9], packed * 2, packed + b"x", content, b"",
            gzip.compress(packed), gzip.compress(b"a" * 2**25))  # fmt: skip
  suffix = generator.choice(("", ".gz", ".gz", ".gz"))
  new = generator.choice(zipped if suffix else plain)
  path.unlink()
  path = path.with_name(path.name + suffix)
  path.write_bytes(new)
  return load_case(
    name, folder, path, **mild_settings(FORMATS[name], generator)
  )


def entry(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A path that is not the plain file or folder that the loader expects."""
  name = generator.choice(tuple(FORMATS))
  files = write(name, folder, valid)
  match generator.randrange(6):
    case 0:
      mutate_entry(generator.choice(files), generator)
    case 1:
      other = generator.choice(tuple(FORMATS.values())).files[0]
      return load_case(name, folder, valid / other)
    case 2:
      return load_case(name, folder, "/dev/zero")
    case 3:
      return load_case(
        name, folder, generator.choice(("a" * 5000, "\0", "..", "~x", "."))
      )
    case 4:
      names = (b"\xff.txt", b"a\nb.txt", b"d.txt.gz", b".txt", b"x.md")
      at = os.fsencode(files[0].parent) + b"/" + generator.choice(names)
      Path(os.fsdecode(at)).write_bytes(files[0].read_bytes())
    case _:
      files[0].unlink()
      files[0].mkdir()
  return load_case(name, folder)


def settings(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Extreme settings of the data set."""
  name = generator.choice(tuple(FORMATS))
  write(name, folder, valid)
  options = {
    "tokenizer": ("", "x", "\0", "words ", "/dev/zero", str(valid), "a" * 5000,
                  "bytes", "spaces"),
    "vocab_size": (-1, 1, 4, 5, 2**31, 10**30),
    "min_count": (-1, 0, 1000, 2**63),
    "max_length": (-1, 0, 1, 2, 3, 4, 65_536, 2**31, 10**30),
    "on_long": ("", "x"),
    "valid_fraction": (-1.0, 0.0, 0.5, 0.999, 1.0, float("nan"), 1e300),
    "test_fraction": (-1.0, 0.0, 0.5, 0.999, 1.0, float("inf")),
    "folds": (-1, 1, 2, 50, 2**31),
    "fold": (-1, 1, 10**9),
    "duplicates": ("", "remove", "x"),
    "text": ("", "\0", "answer", "x" * 9999),
    "target": ("", "text", "en", "TARGET"),
    "pair": ("", "text", "answer"),
    "source": ("", "fr", "\0", "../en"),
    "target_tokenizer": ("", "x", "bytes", "spaces"),
    "token_column": (-3, -2, 1, 2, 10**30),
    "tag_column": (0, -2, 2),
    "tokens": ("", "tags", "x"),
    "ignored": ("", "T", "\0"),
    "comment": ("", "t", "\0", "#" * 5000),
    "documents": ("", "paragraph"),
    "template": ("", "chatml", "llama3", "x.jinja", "/dev/zero.jinja", "\0"),
    "loss": ("", "all", "user"),
    "first": ("", "fr", "\0", "x"),
    "score": ("", "en", "x"),
    "largest_score": (-1.0, 0.0, float("nan"), 1e300),
    "packing": ("", "packed"),
    "in_memory_limit": (-1, 0, 1, 10**30),
    "split": ("answer", "text", "x"),
    "group": ("answer", "text", "en"),
    "time": ("answer", "text", "en"),
  }  # fmt: skip
  names = [key for key in options if key in FORMATS[name].keywords]
  chosen = {
    key: generator.choice(options[key])
    for key in generator.sample(names, generator.choice((1, 1, 2, 3)))
  }
  return load_case(name, folder, **chosen)


def splits(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Files for the splits of which one is hostile, or of another format."""
  name = generator.choice(FILES)
  form = FORMATS[name]
  for part in ("train", "test"):
    (folder / part).mkdir()
    write(name, folder / part, valid)
  mutate_bytes(folder / "test" / form.files[-1], generator)
  if generator.random() < 0.3:
    other = valid / FORMATS[generator.choice(FILES)].files[0]
    shutil.copy(other, folder / "test" / form.files[0])
  paths = {p: str(folder / p / form.path) for p in ("train", "test")}
  return load_case(name, folder, **{"path": "", **paths})


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A file that was mutated."""
  name = generator.choice(tuple(FORMATS))
  path = generator.choice(write(name, folder, valid))
  (mutate_entry if generator.random() < 0.05 else mutate_bytes)(path, generator)
  return either(name, folder, generator, valid)


KIND = Kind(
  {
    "empty": text_damages.empty,
    "empty cells": text_damages.empty_cells,
    "long": text_damages.long,
    "strange characters": text_damages.strange,
    "surrogates": text_damages.surrogates,
    "encoding": text_damages.encoding,
    "byte order mark": text_damages.mark,
    "line ends": text_damages.line_ends,
    "broken JSON": text_damages.broken,
    "missing column": text_damages.missing_column,
    "one class": text_damages.one_class,
    "one tag": text_damages.one_tag,
    "unequal files": text_damages.unequal_files,
    "unequal tags": text_damages.unequal_tags,
    "few examples": few,
    "chat templates": chat_templates.templates,
    "compression": compressed,
    "entry": entry,
    "settings": settings,
    "splits": splits,
  },
  mutate,
)

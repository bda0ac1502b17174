"""Hostile files of texts, loaded by the data sets of texts or trained on."""

import gzip
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_inputs.case import (
  EXTREMES,
  Case,
  Kind,
  Script,
  digits,
  nested,
)
from hostile_inputs.mutations import mutate_bytes, mutate_entry
from hostile_inputs.valid_texts import FORMATS, Format

from dlcore import data

Damage = Callable[[str, random.Random], str | bytes]
"""From the content of a valid file to that of a hostile one."""

TABLES = ("table", "table of pairs")
JSON = ("JSON lines", "running JSON", "tags in JSON")
FILES = tuple(name for name in FORMATS if name != "folder")
STRANGE = (
  *("\0", "\x1a", "\x7f", "\x85", "\x0b", "\ufffd", "\ufeff", "\u2028"),
  *("\u200d" * 9, "e" + "\u0301" * 999, "\u202e", "\U0001f642" * 9, "\t"),
  *("\U000e0001", "\U0001d518", "漢字" * 50, "İ" * 50, "ß", "a" * 200_000),
  *("\\", '"', "'", "=1+1", "\u2063", "#", ",", ";"),
)
"""Characters that a vocabulary, a parser or lower case may not expect."""


def write(name: str, folder: Path, valid: Path) -> list[Path]:
  """Copies the files of a format; returns them, of a folder those in it."""
  paths = []
  for file in FORMATS[name].files:
    if (valid / file).is_dir():
      shutil.copytree(valid / file, folder / file)
      paths += sorted((folder / file).rglob("*.txt"))
    else:
      paths.append(Path(shutil.copy(valid / file, folder / file)))
  return paths


def load_case(name: str, folder: Path, path: Any = "", **settings: Any) -> Case:
  """Returns the case that loads, reads and displays the data of a format.

  Args:
    name: a key of `FORMATS`.
    folder: of the case.
    path: setting of the data set, by default the valid name in `folder`.
    **settings: others.
  """
  form = FORMATS[name]
  path = path or folder / form.path
  chosen = {**form.settings, "path": str(path), **settings}
  if form.data != "text_file":  # It has no cache.
    chosen["cache_dir"] = str(folder / "cache")
  return Case(lambda: texts_of(data.load(form.data, **chosen)))


def texts_of(splits: data.Splits) -> list[str]:
  """Returns the texts of all splits as the report displays them, sorted."""
  texts = []
  for source in splits:
    if source is not None:
      batch = data.read_all(source)
      texts += source.info.schema.display(batch).tolist()
      source.info.schema.token_ends({k: v[:4] for k, v in batch.items()})
  return sorted(texts)


def train_case(name: str, folder: Path, valid: Path, *overrides: str) -> Case:
  """Returns the case that trains a small model on the data of a format."""
  form = FORMATS[name]
  arguments = [f"--config={valid / form.run}.py", f"--workdir={folder}/run"]
  arguments += [f"--config.data.path={folder / form.path}", *overrides]
  return Case(Script("train", tuple(arguments)))


def either(
  name: str, folder: Path, generator: random.Random, valid: Path
) -> Case:
  """Returns the case that loads the files of a format, or trains on them."""
  if generator.random() < 0.25:
    return train_case(name, folder, valid)
  return load_case(name, folder, **mild_settings(FORMATS[name], generator))


def mild_settings(form: Format, generator: random.Random) -> dict[str, Any]:
  """Returns settings that a user may choose."""
  settings: dict[str, Any] = {}
  if form.data != "text_file":
    settings["on_bad"] = generator.choice(("error", "skip"))
    settings["on_long"] = generator.choice(("error", "truncate"))
  if form.data != "tagged_text":
    kinds = ("words", "characters", "bytes")
    settings["tokenizer"] = generator.choice(kinds)
  settings["lowercase"] = generator.choice((True, False))
  settings["max_length"] = generator.choice((8, 64, 512))
  return settings


def damaged(*names: str, expect: str = ""):
  """Returns the decorator of a damage, which makes a generator of inputs.

  Args:
    *names: of the formats, by default all.
    expect: the right outcome: "refused", or "same" for the texts of the valid
      files; empty if several are right.
  """

  def decorate(damage: Damage):
    def make(folder: Path, generator: random.Random, valid: Path) -> Case:
      name = generator.choice(names or tuple(FORMATS))
      path = generator.choice(write(name, folder, valid))
      new = damage(path.read_text(), generator)
      path.write_bytes(new if isinstance(new, bytes) else new.encode())
      if not expect:
        return either(name, folder, generator, valid)
      return checked(name, folder, valid, expect)

    make.__doc__ = damage.__doc__
    return make

  return decorate


def checked(name: str, folder: Path, valid: Path, expect: str) -> Case:
  """Returns the case that loads data whose right outcome is known."""
  case = load_case(name, folder)

  def silent(texts: list[str] | None) -> str:
    if expect == "refused":
      return "accepted"
    path = valid / FORMATS[name].path
    expected = load_case(name, folder / "other", path).call()
    return "" if texts == expected else "other texts than those of the file"

  return case._replace(silent=silent)


@damaged()
def empty(content: str, generator: random.Random) -> str:
  """Nothing, white space, or lines without a text."""
  first = content.splitlines()[0]
  return generator.choice(
    ("", "\n", " \t\n \n", first, f"{first}\n", f"{first}\n,\n , \n",
     "\n" * 999, "\ufeff", "\u200b\n", '""\n""\n', "{}\n", "[]\n", "null\n")
  )  # fmt: skip


@damaged()
def empty_cells(content: str, generator: random.Random) -> str:
  """Some or all lines without a text, a token or a target."""
  lines = content.splitlines()
  for _ in range(generator.choice((1, 5, 500))):
    at = generator.randrange(1, len(lines)) if len(lines) > 1 else 0
    first, comma, last = lines[at].partition(",")
    lines[at] = generator.choice(
      (f"{comma}{last}", f"{first}{comma}", comma, "", f" {comma} ", "\t", '""')
    )
  return "\n".join(lines) + "\n"


@damaged()
def long(content: str, generator: random.Random) -> str:
  """A text, a word or a line that is longer than any context."""
  word = generator.choice(("a", "a ", "é", "字", "\u0301", "a\n", "a\n\n"))
  count = generator.choice((600, 20_000, 500_000))
  at = content.find(" ", generator.randrange(len(content)))
  return content[:at] + word * count + content[at:]


@damaged()
def strange(content: str, generator: random.Random) -> str:
  """Characters that are rare, invisible, combined or control something."""
  for _ in range(generator.choice((1, 3, 30))):
    at = generator.randrange(len(content) + 1)
    content = content[:at] + generator.choice(STRANGE) + content[at:]
  return content


@damaged(*JSON)
def surrogates(content: str, generator: random.Random) -> str:
  """Escapes of JSON that are no characters."""
  escape = generator.choice(
    ("\\ud800", "\\udfff\\ud800", "\\u0000", "\\uffff", "\\ud83d\\ude42")
  )
  return content.replace("the ", f"the {escape} ", generator.choice((1, 99)))


@damaged(expect="refused")
def encoding(content: str, generator: random.Random) -> bytes:
  """Another encoding than UTF-8, in a file that has no mark of it."""
  name = generator.choice(
    ("latin-1", "cp1252", "utf-16-le", "utf-16-be", "utf-32-le", "cp037")
  )
  if name.startswith("utf"):  # Whose bytes are valid UTF-8.
    return content.encode("ascii", "ignore").decode().encode(name)
  return ("é" + content).encode(name, "replace")


@damaged(expect="same")
def mark(content: str, generator: random.Random) -> bytes:
  """A byte order mark, with the encoding that it names, and line ends."""
  end = generator.choice(("\n", "\r\n"))
  name = generator.choice(("utf-8-sig", "utf-16", "utf-8"))
  return content.replace("\n", end).encode(name)


@damaged()
def line_ends(content: str, generator: random.Random) -> bytes:
  """Unusual or mixed line ends, and marks in places where none belongs."""
  ends = ("\r", "\r\n", "\n\r", "\x0b", "\u2028", "\x85", "\r\r\n", "\x0c")
  parts = content.split("\n")
  mixed = generator.random() < 0.5
  end = generator.choice(ends)
  text = parts[0] + "".join(
    (generator.choice((end, "\n")) if mixed else end) + part
    for part in parts[1:]
  )
  return generator.choice(("", "\ufeff\ufeff", "\n\ufeff")).encode() + (
    text.encode()
  )


@damaged(*JSON)
def broken(content: str, generator: random.Random) -> str:
  """Lines of JSON that are cut, deep, of another type or repeated."""
  lines = content.splitlines()
  row = json.loads(lines[0])
  key = generator.choice(sorted(row))
  others = [{**row, key: value} for value in EXTREMES if _is_json(value)]
  first = lines[0]
  text = generator.choice(
    (first[:-3], nested(generator.choice((900, 100_000))), "{", "NaN", "\0",
     f'{{"{key}": {digits(generator)}}}', first * 2, first.replace('"', "'"),
     f"{first[:-1]}, {first[1:]}", f"[{first}]",
     *[json.dumps(generator.choice(others))] * 6)
  )  # fmt: skip
  if generator.random() < 0.3:
    return (text + "\n") * generator.choice((1, 40))
  lines[generator.randrange(len(lines))] = text
  return "\n".join(lines) + "\n"


def _is_json(value: Any) -> bool:
  return not isinstance(value, str) or "\ud800" not in value


@damaged(*TABLES, *JSON, expect="refused")
def missing_column(content: str, generator: random.Random) -> str:
  """Another name in place of that of a column."""
  first, _, rest = content.partition("\n")
  is_json = first.startswith("{")
  names = list(json.loads(first)) if is_json else first.split(",")
  old = generator.choice(names)
  new = generator.choice((old.upper(), f"{old} 2", "é", f"{old}."))
  if is_json:
    return content.replace(f'"{old}"', json.dumps(new))
  return f"{first.replace(old, new)}\n{rest}"


@damaged("table", "JSON lines")
def one_class(content: str, generator: random.Random) -> str:
  """The same class everywhere, which a note reports."""
  del generator
  return content.replace("bad", "good")


@damaged("CoNLL", "tags in JSON", expect="refused")
def one_tag(content: str, generator: random.Random) -> str:
  """The same tag everywhere."""
  del generator
  lines = []
  for line in content.splitlines():
    if line.startswith("{"):
      row = json.loads(line)
      line = json.dumps({**row, "tags": ["N"] * len(row["tags"])})
    elif line:
      line = line.partition("\t")[0] + "\tN"
    lines.append(line)
  return "\n".join(lines) + "\n"


@damaged("parallel files", expect="refused")
def unequal_files(content: str, generator: random.Random) -> str:
  """Parallel files of which one has a line more, or fewer."""
  lines = content.splitlines()
  at = generator.randrange(len(lines))
  new = generator.choice(([], [lines[at], "again"], [lines[at]] * 50))
  return "\n".join([*lines[:at], *new, *lines[at + 1 :]]) + "\n"


@damaged("CoNLL", "tags in JSON", expect="refused")
def unequal_tags(content: str, generator: random.Random) -> str:
  """A sequence with a token more than tags, or fewer."""
  lines = content.splitlines()
  at = generator.choice([i for i, line in enumerate(lines) if line.strip()])
  if lines[at].startswith("{"):
    row = json.loads(lines[at])
    key = generator.choice(("tokens", "tags"))
    row[key] = generator.choice((row[key][1:], row[key] * 2, []))
    lines[at] = json.dumps(row)
  else:
    word = lines[at].partition("\t")[0]
    lines[at] = generator.choice((word, f"{lines[at]}\tX", f"{word}\t"))
  return "\n".join(lines) + "\n"


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
    "packing": ("", "packed"),
    "in_memory_limit": (-1, 0, 1, 10**30),
    "split": ("answer", "text", "x"),
    "group": ("answer", "text", "en"),
    "time": ("answer", "text", "en"),
  }  # fmt: skip
  known = data.DATASETS[FORMATS[name].data].__kwdefaults__
  names = [key for key in options if key in known]
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
    "empty": empty,
    "empty cells": empty_cells,
    "long": long,
    "strange characters": strange,
    "surrogates": surrogates,
    "encoding": encoding,
    "byte order mark": mark,
    "line ends": line_ends,
    "broken JSON": broken,
    "missing column": missing_column,
    "one class": one_class,
    "one tag": one_tag,
    "unequal files": unequal_files,
    "unequal tags": unequal_tags,
    "few examples": few,
    "compression": compressed,
    "entry": entry,
    "settings": settings,
    "splits": splits,
  },
  mutate,
)

"""Cases of hostile files of texts: changed copies of valid ones."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_inputs.case import Case, Script
from hostile_inputs.valid_texts import FORMATS, Format

from dlcore import data

Damage = Callable[[str, random.Random], str | bytes]
"""From the content of a valid file to that of a hostile one."""


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
  if "cache_dir" in form.keywords:
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
  if "on_bad" in form.keywords:
    settings["on_bad"] = generator.choice(("error", "skip"))
    settings["on_long"] = generator.choice(("error", "truncate"))
  if "tokenizer" in form.keywords:
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

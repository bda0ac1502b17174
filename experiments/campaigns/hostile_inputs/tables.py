"""Hostile CSV files, read by the data set table_csv."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

from hostile_inputs.case import Case, Kind, digits
from hostile_inputs.mutations import mutate_bytes, mutate_entry

from dlcore import data

CELLS = (
  *(
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e-400",
    "0x10",
    "1_000",
    "٣",
    "\uff11\uff12",
  ),
  *("", " ", "\0", '"', "'", "=1+1", "1.7976931348623157e308", "3.5e38"),
  *(
    "20240131",
    "1735689600.25",
    "1",
    "1.0",
    "1e0",
    "-0",
    "True",
    "a" * 200_000,
  ),
)


def table_case(path: Path, /, **settings: Any) -> Case:
  """Returns the case that loads a table with the target `answer`."""

  def call() -> data.Splits:
    return data.load(
      "table_csv",
      **{
        "path": str(path),
        "target": "answer",
        "cache_dir": str(path.parent / "cache"),
        **settings,
      },
    )

  return Case(call)


def wide(folder: Path, generator: random.Random, valid: Path) -> Case:
  """100,000 columns."""
  del valid
  count = generator.choice((10_000, 100_000))
  names = ",".join([*(f"c{i}" for i in range(count)), "answer"])
  row = ",".join(["1"] * (count + 1))
  (folder / "table.csv").write_text("\n".join([names, *[row] * 20]) + "\n")
  return table_case(folder / "table.csv")


def categories(folder: Path, generator: random.Random, valid: Path) -> Case:
  """As many categories as rows."""
  del valid
  count = generator.choice((5000, 20_000))
  lines = (f"name{i},{i % 2}" for i in range(count))
  (folder / "table.csv").write_text("\n".join(["x,answer", *lines]) + "\n")
  return table_case(folder / "table.csv", categorical=("x",))


def classes(folder: Path, generator: random.Random, valid: Path) -> Case:
  """As many classes as rows."""
  del valid
  count = generator.choice((5000, 50_000))
  lines = (f"{i},name{i}" for i in range(count))
  (folder / "table.csv").write_text("\n".join(["x,answer", *lines]) + "\n")
  return table_case(folder / "table.csv")


def long_line(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A line of up to 1 GiB, as the hole of a sparse file or as digits."""
  del valid
  path = folder / "table.csv"
  with path.open("wb") as file:
    file.write(generator.choice((b"x,answer\n1,2\n", b"", b'x,answer\n"')))
    if generator.random() < 0.5:
      file.truncate(1 << 30)
    else:
      for _ in range(256):
        file.write(b"1" * (1 << 20))
  return table_case(path)


def cells(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Cells that are no numbers, or unusual ones."""
  del valid
  values = [*CELLS, str(digits(generator))]
  lines = [f"{i},{i % 3},{i % 2}" for i in range(40)]
  for _ in range(generator.choice((1, 40))):
    row = [generator.choice(values) for _ in range(3)]
    row[2] = generator.choice((row[2], "1"))
    lines[generator.randrange(40)] = ",".join(row)
  (folder / "table.csv").write_text("\n".join(["x,y,answer", *lines]) + "\n")
  chosen = {
    "on_bad": generator.choice(("error", "skip")),
    "task": generator.choice(("auto", "classification", "regression")),
    "categorical": generator.choice(((), ("x",))),
  }
  return table_case(folder / "table.csv", **chosen)


def header(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Unusual first lines, encodings and line ends."""
  del valid
  names = generator.choice(
    ("x,x,answer", ",,answer", '"x\ny",z,answer', "answer", "", "x;y,answer",
     "\ufeff\ufeffx,y,answer", "x,y,answer" + "," * 50_000, "\0,y,answer")
  )  # fmt: skip
  rows = [f"{i},{i % 3},{i % 2}" for i in range(40)]
  rows = generator.choice((rows, [], rows * 2, ["1"] * 40))
  end = generator.choice(("\n", "\r", "\r\n", "\n\r", "\x0b", "\u2028"))
  text = end.join([names, *rows])
  encoding = generator.choice(("utf-8", "utf-8", "utf-16", "utf-32", "utf-7"))
  (folder / "table.csv").write_bytes(text.encode(encoding))
  return table_case(folder / "table.csv")


def entry(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A path that is not a plain file."""
  path = Path(shutil.copy(valid / "table.csv", folder / "table.csv"))
  match generator.randrange(5):
    case 0:
      return table_case(Path("/dev/zero"), cache_dir=str(folder / "cache"))
    case 1:
      path.unlink()
      os.mkfifo(path)
    case 2:
      path.unlink()
      path.symlink_to(path.name)
    case 3:
      path.unlink()
      path.mkdir()
    case _:
      other = path.with_name("a" * 5000)
      return table_case(other, cache_dir=str(folder / "cache"))
  return table_case(path)


def settings(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Extreme settings."""
  path = Path(shutil.copy(valid / "table.csv", folder / "table.csv"))
  name, value = generator.choice(
    (
      ("valid_fraction", generator.choice((-1, 1, 2, 1e300, float("nan")))),
      ("test_fraction", generator.choice((-1, 0, 10**400, float("inf")))),
      ("columns", generator.choice((("x", "x"), ("",), ("x",) * 10_000))),
      ("categorical", generator.choice((("answer",), ("x", "x"), ("y",)))),
      ("target", generator.choice(("x" * 100_000, "\0", "ANSWER", "x"))),
      ("valid", str(path)),
      ("path", "\0"),
      ("task", "x" * 10_000),
    )
  )
  return table_case(path, **{name: value})


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A table that was mutated."""
  path = Path(shutil.copy(valid / "table.csv", folder / "table.csv"))
  (mutate_entry if generator.random() < 0.1 else mutate_bytes)(path, generator)
  on_bad = generator.choice(("error", "skip"))
  chosen = generator.choice(((), ("x",)))
  return table_case(path, on_bad=on_bad, categorical=chosen)


KIND = Kind(
  {
    "100,000 columns": wide,
    "20,000 categories": categories,
    "long line": long_line,
    "cells": cells,
    "classes": classes,
    "header": header,
    "entry": entry,
    "settings": settings,
  },
  mutate,
)

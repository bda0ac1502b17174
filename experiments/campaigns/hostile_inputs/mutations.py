"""Random mutations of valid files and folders."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_inputs.case import EXTREMES, digits, nested, write_json

Mutation = Callable[[bytes, random.Random], bytes]


def flip(content: bytes, generator: random.Random) -> bytes:
  """Flips 1 to 8 bits."""
  changed = bytearray(content)
  for _ in range(generator.choice((1, 1, 2, 8)) if changed else 0):
    changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
  return bytes(changed)


def flip_start(content: bytes, generator: random.Random) -> bytes:
  """Flips bits of the first 64 bytes, where headers are."""
  return flip(content[:64], generator) + content[64:]


def truncate(content: bytes, generator: random.Random) -> bytes:
  """Removes the end."""
  return content[: generator.randrange(len(content) + 1)]


def remove(content: bytes, generator: random.Random) -> bytes:
  """Removes a block."""
  begin = generator.randrange(len(content) + 1)
  return content[:begin] + content[begin + generator.randrange(1, 64) :]


def insert(content: bytes, generator: random.Random) -> bytes:
  """Inserts random bytes, or repeats a block."""
  begin = generator.randrange(len(content) + 1)
  block = generator.choice(
    (generator.randbytes(16), content[begin : begin + 64], b"\xff" * 8)
  )
  return content[:begin] + block + content[begin:]


def zero(content: bytes, generator: random.Random) -> bytes:
  """Fills a block with zeros."""
  begin = generator.randrange(len(content) + 1)
  block = content[begin : begin + 512]
  return content[:begin] + bytes(len(block)) + content[begin + len(block) :]


def number(content: bytes, generator: random.Random) -> bytes:
  """Replaces four or eight bytes, which may be a size, by an extreme one."""
  begin = generator.randrange(len(content) + 1)
  value = generator.choice(
    (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
  )
  width = generator.choice((4, 8))
  block = (value % 256**width).to_bytes(
    width, generator.choice(("big", "little"))
  )
  return content[:begin] + block + content[begin + width :]


BYTES: tuple[Mutation, ...] = (
  *(flip, flip, flip_start, truncate, remove, insert, zero, number),
)


def mutate_bytes(path: Path, generator: random.Random) -> None:
  """Mutates a file at random."""
  content = path.read_bytes()
  path.write_bytes(generator.choice(BYTES)(content, generator))


def mutate_json(path: Path, generator: random.Random) -> None:
  """Changes, removes, moves or repeats a value of a JSON file."""
  try:
    content = json.loads(path.read_text())
  except (ValueError, RecursionError):  # It may be mutated already.
    mutate_bytes(path, generator)
    return
  if generator.random() < 0.1:
    depth = generator.choice((500, 900, 5000, 100_000))
    text = json.dumps({"\1": 1})[1:-1]
    text = (
      f"{json.dumps(content)[:-1]}, {text.split(':')[0]}: {nested(depth)}}}"
    )
    path.write_text(text)
    return
  places = list(_places(content))
  if not places:
    path.write_text(json.dumps(generator.choice(EXTREMES)))
    return
  holder, key = generator.choice(places)
  match generator.randrange(7):
    case 0:
      del holder[key]
    case 1:
      other, name = generator.choice(places)
      holder[key] = other[name] if other is not holder else None
    case 2:
      holder[key] = digits(generator)
    case 3 if isinstance(holder, dict):
      holder[str(key)[:-1] + "_"] = holder.pop(key)
    case 4 if isinstance(holder[key], str) and holder[key]:
      text = holder[key]
      at = generator.randrange(len(text))
      holder[key] = (
        text[:at] + chr(generator.randrange(1, 0x500)) + text[at + 1 :]
      )
    case 5 if type(holder[key]) in (int, float) and abs(holder[key]) < 1e300:
      holder[key] *= generator.choice((-1, 0, 2, 10**6, 10**12, 0.5))
    case _:
      holder[key] = generator.choice(EXTREMES)
  try:
    write_json(path, content)
  except (ValueError, RecursionError):  # A value that was put into itself.
    path.write_text("{")


def _places(value: Any):
  """Yields every (holder, key) below a value."""
  items = ()
  if isinstance(value, dict):
    items = list(value.items())
  elif isinstance(value, list):
    items = list(enumerate(value))
  for key, inner in items:
    yield value, key
    yield from _places(inner)


def mutate_file(path: Path, generator: random.Random) -> None:
  """Mutates a file in a way that fits its name."""
  is_json = path.suffix in (".json", ".zarray") or path.name == "_METADATA"
  if is_json and generator.random() < 0.75:
    mutate_json(path, generator)
  else:
    mutate_bytes(path, generator)


def mutate_entry(path: Path, generator: random.Random) -> None:
  """Replaces a file by a link, folder, pipe or sparse file, or renames it."""
  keep = path.with_name(f"{path.name}.moved")
  kind = generator.randrange(9)
  path.rename(keep)
  match kind:
    case 0:
      path.symlink_to(keep.name)
    case 1:
      path.symlink_to(path.name)
    case 2:
      path.symlink_to("/dev/zero")
    case 3:
      path.mkdir()
    case 4:
      os.mkfifo(path)
    case 5:
      with path.open("wb") as file:
        file.truncate(generator.choice((1 << 20, 1 << 30, 1 << 40)))
    case 6:
      path.symlink_to(path.parent, target_is_directory=True)
    case 7:
      shutil.copy(keep, path.with_name(path.name.swapcase()))
    case _:
      keep.rename(
        path.with_name(
          os.fsdecode(b"\xff\xfe\n" + generator.randbytes(2).hex().encode())
        )
      )


def mutate(folder: Path, generator: random.Random) -> list[Path]:
  """Mutates one or two files of a folder; returns them."""
  chosen = []
  for _ in range(generator.choice((1, 1, 1, 2))):
    path = generator.choice(files(folder))
    if generator.random() < 0.12:
      mutate_entry(path, generator)
    else:
      mutate_file(path, generator)
    chosen.append(path)
  return chosen


def files(folder: Path) -> list[Path]:
  """Returns the plain files below a folder.

  Their order does not depend on the random names that Orbax chooses.
  """
  every = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
  return sorted(
    every,
    key=lambda p: (p.parent.name[:30], p.suffix, p.stat().st_size, p.name),
  )

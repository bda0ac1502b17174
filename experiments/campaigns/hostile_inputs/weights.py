"""Hostile folders of weights: config.json, safetensors and shards."""

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

from hostile_inputs.case import (
  EXTREMES,
  Case,
  Kind,
  digits,
  nested,
  write_json,
)
from hostile_inputs.mutations import mutate as mutate_folder

from dlcore import transfer

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
CONFIG = "config.json"


def write(folder: Path, generator: random.Random, valid: Path) -> Path:
  """Copies one of the valid folders of weights."""
  name = generator.choice(sorted(p.name for p in (valid / "weights").iterdir()))
  return Path(shutil.copytree(valid / "weights" / name, folder / "weights"))


def load_case(path: Path) -> Case:
  """Returns the case that loads a folder as a model."""

  def call() -> None:
    transfer.from_pretrained(path)

  return Case(call)


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
  """Returns the header and the data of a safetensors file."""
  content = path.read_bytes()
  (size,) = struct.unpack("<Q", content[:8])
  return json.loads(content[8 : 8 + size]), content[8 + size :]


def join(
  path: Path, header: str | bytes, content: bytes, size: int = -1
) -> None:
  """Writes a safetensors file."""
  raw = header.encode() if isinstance(header, str) else header
  path.write_bytes(
    struct.pack("<Q", len(raw) if size < 0 else size) + raw + content
  )


def header(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Headers of another form: depth, repetition, size, another type."""
  root = write(folder, generator, valid)
  entries, content = parts(root / FILE)
  text = json.dumps(entries)
  deep = generator.choice((900, 100_000))
  many = {"dtype": "F32", "shape": [digits(generator)], "data_offsets": [0, 4]}
  choices = (
    (nested(deep), -1),
    (
      text[:-1]
      + ', "x": '
      + nested(deep, '{"a":', "}").replace(":}", ":1}")
      + "}",
      -1,
    ),
    (f'{text[:-1]}, "x": {json.dumps(many)}}}', -1),
    (text[:-1] + "," + text[1:], -1),
    (text, 2**63),
    (text, 2**64 - 1),
    (text, 0),
    ("[]", -1),
    ("", -1),
    (" " * 1_000_000 + text, -1),
    (text[:-1] + ', "__metadata__": {"format": 1}}', -1),
    (b"\xff" * 100, -1),
  )
  join(root / FILE, *_with(generator.choice(choices), content))
  return load_case(root)


def _with(choice: tuple, content: bytes) -> tuple:
  text, size = choice
  return text, content, size


def entry(folder: Path, generator: random.Random, valid: Path) -> Case:
  """An array whose dtype, shape or offsets are extreme."""
  root = write(folder, generator, valid)
  entries, content = parts(root / FILE)
  name = generator.choice(sorted(set(entries) - {"__metadata__"}))
  field = generator.choice(("dtype", "shape", "data_offsets"))
  values = {
    "dtype": ("F8_E4M3", "F8_E5M2", "F4", "O", "f32", "BF16", "F64", "C64", ""),
    "shape": ([64, 10**9], [0], [], [-1], [2**63, 2**63], [1.0], [1] * 10_000),
    "data_offsets": (
      [0, 0],
      [4, 0],
      [0, 2**63],
      [-4, 0],
      [0.0, 4.0],
      [0, 1e999],
    ),
  }
  value = generator.choice((*values[field], generator.choice(EXTREMES)))
  entries[name][field] = value
  try:
    join(root / FILE, json.dumps(entries), content)
  except ValueError:  # Too many digits for a string.
    entries[name][field] = 2**200
    join(root / FILE, json.dumps(entries), content)
  return load_case(root)


def config(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A field of config.json with an extreme value."""
  root = write(folder, generator, valid)
  content = json.loads((root / CONFIG).read_text())
  places = [content]
  places += [value for value in content.values() if isinstance(value, dict)]
  place = generator.choice(places)
  names = [*place, "id2label", "rope_scaling", "architectures", "model_type"]
  field = generator.choice(names)
  place[field] = generator.choice((*EXTREMES, digits(generator), [10**30]))
  write_json(root / CONFIG, content)
  return load_case(root)


def depth(folder: Path, generator: random.Random, valid: Path) -> Case:
  """JSON of great depth in any of the files."""
  root = write(folder, generator, valid)
  count = generator.choice((500, 900, 990, 990, 100_000))
  brackets = generator.choice((nested(count), nested(count, '{"a":[', "]}")))
  name = generator.choice((CONFIG, CONFIG, INDEX))
  if name == INDEX:
    (root / FILE).unlink()
    (root / INDEX).write_text(f'{{"weight_map": {brackets}}}')
  else:
    text = (root / CONFIG).read_text().rstrip()
    (root / CONFIG).write_text(f'{text[:-1]}, "task_specific": {brackets}}}')
  return load_case(root)


def shards(folder: Path, generator: random.Random, valid: Path) -> Case:
  """An index of shards that points elsewhere, or shards without an index."""
  root = write(folder, generator, valid)
  entries, _ = parts(root / FILE)
  names = sorted(set(entries) - {"__metadata__"})
  shard = "model-00001-of-00002.safetensors"
  (root / FILE).rename(root / shard)
  choices = (
    None,
    dict.fromkeys(names, "../weights/" + shard),
    dict.fromkeys(names, str(root / shard)),
    dict.fromkeys(names, INDEX),
    dict.fromkeys(names, "/dev/zero"),
    dict.fromkeys(names, "a" * 5000 + ".safetensors"),
    dict.fromkeys(names, "\0.safetensors"),
    {name: f"model-{i}.safetensors" for i, name in enumerate(names)},
    dict.fromkeys([*names, "x"], shard),
    dict.fromkeys(names[:-1], shard),
    dict.fromkeys(names, generator.choice((None, 1, [], {}, 10**30))),
    {f"x{i}": f"m{i}.safetensors" for i in range(100_000)},
    generator.choice((None, [], 1, "x")),
  )
  weight_map = generator.choice(choices)
  if weight_map is not choices[0]:
    (root / INDEX).write_text(json.dumps({"weight_map": weight_map}))
  return load_case(root)


def pickles(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Pickles, pointers of Git LFS and other files in place of weights."""
  root = write(folder, generator, valid)
  contents = (
    b"\x80\x02cos\nsystem\n(S'gs from a pickle'\ntR.",
    b"PK\3\4" + bytes(100),
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"",
    b"<!DOCTYPE html>",
    bytes(8),
  )
  content = generator.choice(contents)
  name = generator.choice((FILE, "pytorch_model.bin", "model.pt", "x.npz"))
  (root / FILE).unlink()
  (root / name).write_bytes(content)
  return load_case(generator.choice((root, root / name)))


def sparse(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Files of up to 1 TiB of zeros, and arrays that fit into them."""
  root = write(folder, generator, valid)
  entries, content = parts(root / FILE)
  size = generator.choice((1 << 33, 1 << 40))
  name = generator.choice(sorted(set(entries) - {"__metadata__"}))
  begin = len(content)
  entries[name] = {
    "dtype": "F32",
    "shape": [1 << 11, size >> 13],
    "data_offsets": [begin, begin + size],
  }
  join(root / FILE, json.dumps(entries), content)
  with (root / FILE).open("r+b") as file:
    file.truncate((root / FILE).stat().st_size + size)
  return load_case(root)


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A folder of weights that was mutated."""
  root = write(folder, generator, valid)
  mutate_folder(root, generator)
  return load_case(root)


KIND = Kind(
  {
    "config": config,
    "depth": depth,
    "header": header,
    "entry": entry,
    "shards": shards,
    "pickles": pickles,
    "sparse": sparse,
  },
  mutate,
)

"""Hostile folders of adapters: adapter_config.json and safetensors."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile_inputs.case import (
  EXTREMES,
  Case,
  Kind,
  digits,
  nested,
  write_json,
)
from hostile_inputs.mutations import mutate as mutate_folder
from hostile_inputs.weights import join, parts

from dlcore import tasks, transfer

FILE, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def write_valid(
  folder: Path, weights: Path, numbers: Callable[[Any], np.ndarray]
) -> None:
  """Writes random adapters of some of the models as folders of PEFT.

  Args:
    folder: the new folder.
    weights: the folder with the models.
    numbers: returns random numbers of the shape and dtype of a leaf.
  """
  import jax

  for name, dora in (("bert_base", False), ("gpt2", True), ("vit_tiny", True)):
    model, variables = transfer.from_pretrained(weights / name)
    of_images = name == "vit_tiny"
    input_name = "image" if of_images else "input_ids"
    task = tasks.classification(model, input=input_name)
    trained = "^head/" if "head" in variables["params"] else ""
    task = tasks.lora(task, rank=2, trained=trained, dora=dora)
    batch = {
      input_name: np.zeros((1, 8, 8, 3) if of_images else (1, 8), np.int32)
    }
    shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
    state = transfer.initial(variables, task)(*jax.tree.map(numbers, shapes))
    merged = task.variables(*state)
    transfer.save_adapters(folder / name, model, state[0], merged)


def write(
  folder: Path, generator: random.Random, valid: Path
) -> tuple[str, Path]:
  """Copies one of the valid folders; returns the name of its model too."""
  names = sorted(path.name for path in (valid / "adapters").iterdir())
  name = generator.choice(names)
  copy = shutil.copytree(valid / "adapters" / name, folder / "adapters")
  return name, Path(copy)


def load_case(name: str, path: Path, valid: Path) -> Case:
  """Returns the case that loads a folder and merges it into its model."""

  def call() -> None:
    model, variables = transfer.from_pretrained(valid / "weights" / name)
    transfer.load_adapters(path, model, variables).merged()

  return Case(call)


def config(folder: Path, generator: random.Random, valid: Path) -> Case:
  """An entry of adapter_config.json with an extreme value, or another file."""
  name, root = write(folder, generator, valid)
  content = json.loads((root / CONFIG).read_text())
  others = ("exclude_modules", "layers_to_transform", "trainable_token_indices")
  field = generator.choice((*content, *others))
  value = generator.choice((*EXTREMES, digits(generator), [10**30], "pissa"))
  content[field] = value
  whole = generator.choice((content, content, content, value))
  write_json(root / CONFIG, whole)
  return load_case(name, root, valid)


def patterns(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Regular expressions that take exponential time, and extreme ranks."""
  name, root = write(folder, generator, valid)
  content = json.loads((root / CONFIG).read_text())
  expressions = (
    "(a|a|b)+$",
    "(.*)*x",
    "(|)" * 40,
    ".*" * 40 + "x",
    r"(\w|\w\w)+\.",
    "(",
    "a" * 10_000,
    "(?:.*)" * 20,
    "[" + "a-" * 5000 + "]",
    "",
  )
  value = generator.choice((1, 2, 10**9, -1, 0.5, None, 10**400))
  if generator.random() < 0.2:
    content["rank_pattern"] = {f"x{i}": 2 for i in range(100_000)}
  else:
    field = generator.choice(("rank_pattern", "alpha_pattern"))
    content[field] = {generator.choice(expressions): value}
  if generator.random() < 0.3:
    content["target_modules"] = generator.choice(expressions)
  if generator.random() < 0.3:
    content["modules_to_save"] = [generator.choice(expressions)]
  write_json(root / CONFIG, content)
  return load_case(name, root, valid)


def entry(folder: Path, generator: random.Random, valid: Path) -> Case:
  """An array of another name, shape or dtype."""
  name, root = write(folder, generator, valid)
  entries, content = parts(root / FILE)
  key = generator.choice(sorted(set(entries) - {"__metadata__"}))
  shape = entries[key]["shape"]
  begin, end = entries[key]["data_offsets"]
  match generator.randrange(5):
    case 0:
      start = "base_model.model."
      module = key.removeprefix(start).removesuffix(".weight")
      endings = ("lora_A.default.weight", "lora_embedding_A", "lora_B.bias")
      others = (key[1:], key + "x", start, f"{start}x.weight", "x" * 10_000)
      more = tuple(f"{start}{module}.{ending}" for ending in endings)
      entries[generator.choice((*others, *more))] = entries.pop(key)
    case 1:
      entries[key]["shape"] = generator.choice((shape[::-1], [*shape, 1]))
    case 2:
      entries[key]["dtype"] = generator.choice(("I32", "U32", "F32"))
    case 3:
      values = generator.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f"))
      content = content[:begin] + values * ((end - begin) // 4) + content[end:]
    case _:
      huge = b"\xff\xff\x7f\x7f" * ((end - begin) // 4)
      content = content[:begin] + huge + content[end:]
  join(root / FILE, json.dumps(entries), content)
  return load_case(name, root, valid)


def other_files(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Pickles, links, missing files and JSON of great depth."""
  name, root = write(folder, generator, valid)
  pickle = b"\x80\x02cos\nsystem\n(S'gs from a pickle'\ntR."
  match generator.randrange(6):
    case 0:
      (root / FILE).unlink()
      (root / "adapter_model.bin").write_bytes(pickle)
    case 1:
      (root / FILE).write_bytes(generator.choice((pickle, b"", b"PK\3\4")))
    case 2:
      file = generator.choice((FILE, CONFIG))
      (root / file).rename(root / "moved")
      (root / file).symlink_to(generator.choice(("moved", "/dev/zero", file)))
    case 3:
      (root / generator.choice((FILE, CONFIG))).unlink()
    case 4:
      text = (root / CONFIG).read_text().rstrip()
      deep = nested(generator.choice((900, 100_000)))
      (root / CONFIG).write_text(f'{text[:-1]}, "auto_mapping": {deep}}}')
    case _:
      root = generator.choice((root / CONFIG, root / FILE, root / "nothing"))
  return load_case(name, root, valid)


def sparse(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A rank of millions, in a file of up to 1 TiB of zeros."""
  name, root = write(folder, generator, valid)
  entries, content = parts(root / FILE)
  keys = sorted(key for key in entries if key.endswith("lora_A.weight"))
  key = generator.choice(keys)
  size, begin = generator.choice((1 << 33, 1 << 40)), len(content)
  rank = size // 4 // entries[key]["shape"][-1]
  shape = [rank, *entries[key]["shape"][1:]]
  count = 4 * rank
  for side in shape[1:]:
    count *= side
  entries[f"{key}x" if generator.random() < 0.2 else key] = {
    "dtype": "F32",
    "shape": shape,
    "data_offsets": [begin, begin + count],
  }
  settings = json.loads((root / CONFIG).read_text())
  write_json(root / CONFIG, {**settings, "r": rank})
  join(root / FILE, json.dumps(entries), content)
  with (root / FILE).open("r+b") as file:
    file.truncate((root / FILE).stat().st_size + count)
  return load_case(name, root, valid)


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A folder of adapters that was mutated."""
  name, root = write(folder, generator, valid)
  mutate_folder(root, generator)
  return load_case(name, root, valid)


KIND = Kind(
  {
    "config": config,
    "patterns": patterns,
    "entry": entry,
    "other files": other_files,
    "sparse": sparse,
  },
  mutate,
)

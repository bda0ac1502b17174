"""Hostile data sets that TensorFlow Datasets has prepared."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from hostile_inputs.case import EXTREMES, Case, Kind, digits, nested, write_json
from hostile_inputs.mutations import files, mutate_entry, mutate_file

from dlcore import data

INFO, FEATURES, LABELS = (
  "dataset_info.json",
  "features.json",
  "label.labels.txt",
)


def write(folder: Path, valid: Path) -> Path:
  """Copies the prepared data set; returns the folder of its version."""
  shutil.copytree(valid / "tfds", folder / "tfds")
  return next((folder / "tfds").rglob(INFO)).parent


def load_case(folder: Path, **settings: Any) -> Case:
  """Returns the case that loads the data set."""

  def call() -> data.Splits:
    splits = data.load(
      "cifar10",
      data_dir=str(folder / "tfds"),
      cache_dir=str(folder / "cache"),
      download=False,
      valid_fraction=0.0,
      **settings,
    )
    data.read_all(splits.train)
    return splits

  return Case(call)


def depth(folder: Path, generator: random.Random, valid: Path) -> Case:
  """JSON of great depth, or not JSON."""
  root = write(folder, valid)
  path = root / generator.choice((INFO, FEATURES))
  deep = nested(generator.choice((500, 900, 100_000)))
  inner = nested(1000, '{"sequence":{"feature":', "}}").replace(":}", ":{}}")
  text = path.read_text().rstrip()[:-1]
  choices = (deep, f'{text}, "x": {deep}}}', f'{text}, "splits": {deep}}}',
             f'{text}, "featuresDict": {inner}}}',
             "", "[]", "null")  # fmt: skip
  path.write_text(generator.choice(choices))
  return load_case(folder)


def field(name: str):
  """Returns the generator of metadata with an extreme value."""

  def make(folder: Path, generator: random.Random, valid: Path) -> Case:
    root = write(folder, valid)
    content = json.loads((root / name).read_text())
    place: Any = content
    while True:
      keys = sorted(place) if isinstance(place, dict) else range(len(place))
      key = generator.choice(list(keys))
      inner = place[key]
      if (
        not isinstance(inner, dict | list)
        or not inner
        or generator.random() < 0.2
      ):
        break
      place = inner
    place[key] = generator.choice((*EXTREMES, digits(generator)))
    write_json(root / name, content)
    return load_case(folder)

  return make


def lengths(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Numbers of examples and shards that the records do not have."""
  root = write(folder, valid)
  content = json.loads((root / INFO).read_text())
  split = generator.choice(content["splits"])
  value = generator.choice(("0", "-1", "1000000000000", str(2**63), "x", "1e3"))
  split["shardLengths"] = [value] * generator.choice((0, 1, 2, 100_000))
  split["name"] = generator.choice((split["name"], "", "../x", "train", "all"))
  write_json(root / INFO, content)
  return load_case(folder)


def classes(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Features of a class of another module, or of an unknown type."""
  root = write(folder, valid)
  path = root / FEATURES
  names = ("os.system", "subprocess.Popen", "hostile.Feature", "", "x" * 10_000,
           "tensorflow_datasets.core.features.text_feature.Text",
           "tensorflow_datasets.core.features.dataset_feature.Dataset",
           "tensorflow_datasets.core.features.video_feature.Video")  # fmt: skip
  content = json.loads(path.read_text())
  places = [
    content,
    *content.get("featuresDict", {}).get("features", {}).values(),
  ]
  generator.choice(places)["pythonClassName"] = generator.choice(names)
  write_json(path, content)
  return load_case(folder)


def labels(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Names of classes: too many, none, repeated, a sparse file."""
  path = write(folder, valid) / LABELS
  text = generator.choice(
    ("", "a\na\n", "\n" * 10, "a\n" * 3, "\0", "é" * 10**6)
  )
  path.write_text(text)
  if generator.random() < 0.3:
    with path.open("r+b") as file:
      file.truncate(1 << 30)
  elif generator.random() < 0.3:
    path.write_text("\n".join(map(str, range(1_000_000))))
  return load_case(folder)


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Prepared records or metadata that were mutated."""
  root = write(folder, valid)
  path = generator.choice(files(root))
  if generator.random() < 0.12:
    mutate_entry(path, generator)
    return load_case(folder)
  mutate_file(path, generator)
  limit = generator.choice((2 << 30, 0))
  case = load_case(folder, in_memory_limit=limit)
  if "array_record" not in path.name:
    return case

  def silent(splits: data.Splits) -> str:
    """Compares the records, which have checksums."""
    with np.load(valid / "tfds.npz") as expected:
      every = [data.read_all(s) for s in splits if s]
      images = np.concatenate([part["image"] for part in every])
      known = {image.tobytes() for image in expected["image"]}
    wrong = sum(image.tobytes() not in known for image in images)
    missing = len(known) - len(images)
    return (
      f"{wrong} other and {missing} missing images" if wrong or missing else ""
    )

  return case._replace(silent=silent)


KIND = Kind(
  {
    "depth": depth,
    "field of dataset_info.json": field(INFO),
    "field of features.json": field(FEATURES),
    "lengths": lengths,
    "classes of features": classes,
    "labels": labels,
  },
  mutate,
)

"""The valid inputs, made once by dlcore itself."""

import functools
import io
import json
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from hostile_inputs import (
  adapters,
  archives,
  images,
  tables,
  text_cases,
  texts,
  valid_texts,
)

from dlcore import data, experiment, models, transfer

STEPS = 3
SMALL = {"width": 8, "depth": 1, "num_heads": 2}
TEXT = {"vocab_size": 32, "max_length": 16}
MODELS: dict[str, dict[str, Any]] = {
  "bert_base": {**SMALL, "mlp_dim": 16, **TEXT},
  "gpt2": {**SMALL, **TEXT},
  "resnet18": {"width": 4},
  "smollm_135m": {**SMALL, "num_kv_heads": 1, "mlp_dim": 16, **TEXT},
  "vit_tiny": {**SMALL, "mlp_dim": 16, "patch_size": 4, "image_size": 8},
}
CONFIG = """from dlcore import experiment


def get_config(variant=""):
  del variant
  return experiment.config(**{settings!r})
"""


def make(folder: Path) -> None:
  """Writes all valid inputs to a new folder."""
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  _pictures(folder / "pictures")
  _table(folder / "table.csv")
  pixels = np.zeros((8000, 16_001), np.uint8).tobytes()
  header = images.png(8000, 8000, 16, 0)[:33]
  packed = zlib.compress(pixels)
  (folder / "bomb.png").write_bytes(
    header + images.chunk(b"IDAT", packed) + images.chunk(b"IEND", b"")
  )
  _archive(folder / "many.npz")
  valid_texts.write(folder)
  _texts(folder / "texts")
  _weights(folder / "weights")
  adapters.write_valid(folder / "adapters", folder / "weights", _numbers)
  _records(folder)
  expected = {}
  for name, settings in _settings(folder).items():
    (folder / f"{name}.py").write_text(CONFIG.format(settings=settings))
    run = folder / "runs" / name
    experiment.train(experiment.complete(settings), run, progress=False)
    steps = sorted(int(p.name) for p in (run / "checkpoints").iterdir())
    expected[name] = {
      step: experiment.evaluate(run, step=step) for step in steps
    }
  _check(folder)
  (folder / "expected.json").write_text(json.dumps(expected))


def _check(folder: Path) -> None:
  """Reads the valid inputs, so that a refusal is due to a mutation alone."""
  for path in sorted((folder / "weights").iterdir()):
    transfer.from_pretrained(path)
  for path in sorted((folder / "adapters").iterdir()):
    adapters.load_case(path.name, path, folder).call()
  for path in sorted((folder / "texts").iterdir()):
    texts.text_case(path, ("deep learning",)).call()
  cache = str(folder / "cache")
  images.folder_case(folder / "pictures", cache_dir=cache).call()
  tables.table_case(folder / "table.csv", cache_dir=cache).call()
  for name in valid_texts.FORMATS:
    text_cases.load_case(name, folder).call()


def _settings(folder: Path) -> dict[str, dict[str, Any]]:
  """Returns the configs of the runs."""
  shared = {
    "optim": {"schedule": {"name": "constant"}},
    "training": {"steps": STEPS, "eval_every": 1, "checkpoint_every": 1},
    "sharding": {"devices": 1},
  }
  table = {"name": "table_csv", "path": str(folder / "table.csv")}
  of_texts = valid_texts.configs(folder)
  return {
    **{name: {**shared, **sections} for name, sections in of_texts.items()},
    "table": {
      **shared,
      "data": {**table, "target": "answer", "batch_size": 8},
      "model": {"name": "mlp", "widths": (8,)},
    },
    "pictures": {
      **shared,
      "data": {
        "name": "image_folder",
        "path": str(folder / "pictures"),
        "batch_size": 8,
      },
      "model": {"name": "cnn", "stages": ((4,),), "pool": "mean", "dense": ()},
    },
    "adapted": {
      **shared,
      "data": {
        "name": "image_folder",
        "path": str(folder / "pictures"),
        "channels": 3,
        "batch_size": 8,
      },
      "model": {"name": "vit_tiny", **MODELS["vit_tiny"]},
      "init": {
        "source": str(folder / "weights" / "vit_tiny"),
        "head": "reinitialized",
        "strategy": {"name": "lora"},
      },
    },
  }


def _pictures(folder: Path) -> None:
  from PIL import Image

  generator = np.random.default_rng(0)
  for name in ("cat", "dog"):
    (folder / name).mkdir(parents=True)
    for number in range(12):
      pixels = generator.integers(0, 256, (8, 8), np.uint8)
      Image.fromarray(pixels).save(folder / name / f"{number}.png")


def _archive(path: Path) -> None:
  zero = np.zeros(1, np.float32)
  arrays = {str(number): zero for number in range(60_000)}
  with zipfile.ZipFile(path, "w") as file:
    for name, array in (archives.arrays(archives.DEEP) | arrays).items():
      stream = io.BytesIO()
      np.save(stream, array)
      file.writestr(f"{name}.npy", stream.getvalue())


def _table(path: Path) -> None:
  numbers = np.random.default_rng(0).normal(size=(60, 2)).round(3)
  rows = (f"{x},{y},{'up' if x + y > 0 else 'down'}" for x, y in numbers)
  path.write_text("\n".join(["x,y,answer", *rows]) + "\n")


def _texts(folder: Path) -> None:
  """Writes tokenizers of the three common models."""
  import tokenizers
  from tokenizers import models as kinds
  from tokenizers import normalizers, pre_tokenizers, processors

  words = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "deep",
    "learn",
    "##ing",
    "a",
    "##a",
  ]
  ids = {word: i for i, word in enumerate(words)}
  wordpiece = tokenizers.Tokenizer(kinds.WordPiece(ids, unk_token="[UNK]"))
  wordpiece.normalizer = normalizers.BertNormalizer()
  wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  wordpiece.post_processor = processors.BertProcessing(
    ("[SEP]", 3), ("[CLS]", 2)
  )
  wordpiece.add_special_tokens(words[:4])
  letters = {letter: i for i, letter in enumerate("abdeginlpr")}
  bpe = tokenizers.Tokenizer(
    kinds.BPE({**letters, "de": 10, "ep": 11}, [("d", "e"), ("e", "p")])
  )
  bpe.pre_tokenizer = pre_tokenizers.ByteLevel()
  pieces = [("<unk>", 0.0), *((letter, -1.0) for letter in letters)]
  unigram = tokenizers.Tokenizer(kinds.Unigram(pieces, 0, False))
  unigram.pre_tokenizer = pre_tokenizers.Metaspace()
  settings = {"pad_token": "[PAD]", "padding_side": "right"}
  every = {"wordpiece": wordpiece, "bpe": bpe, "unigram": unigram}
  for name, tokenizer in every.items():
    (folder / name).mkdir(parents=True)
    tokenizer.save(str(folder / name / "tokenizer.json"))
    (folder / name / "tokenizer_config.json").write_text(json.dumps(settings))


def _weights(folder: Path) -> None:
  """Writes small random models in published names."""
  import jax

  image = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
  ids = jax.ShapeDtypeStruct((1, 8), np.int32)
  for name, fields in MODELS.items():
    model = models.create(name, num_classes=3, **fields)
    like = ids if "vocab_size" in fields else image
    variables = jax.eval_shape(
      functools.partial(model.init, train=False),
      jax.random.key(0),
      *models.example_inputs(model, like),
    )
    arrays = jax.tree.map(_numbers, variables)
    transfer.save_pretrained(folder / name, model, arrays)


def _numbers(leaf: Any) -> np.ndarray:
  """Returns random numbers of the shape and dtype of a leaf."""
  numbers = np.random.default_rng(0).normal(size=leaf.shape)
  return numbers.astype(leaf.dtype)


def _records(folder: Path) -> None:
  """Prepares a small data set in the format of CIFAR-10."""
  archive = folder / "files" / "cifar-10-binary.tar.gz"
  archive.parent.mkdir()
  generator = np.random.default_rng(0)
  with tarfile.open(archive, "w:gz") as file:
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    contents = {f"{name}.bin": _cifar(generator) for name in names}
    labels = "\n".join(f"class {i}" for i in range(10)) + "\n\n"
    for name, content in {
      **contents,
      "batches.meta.txt": labels.encode(),
    }.items():
      entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
      entry.size = len(content)
      file.addfile(entry, io.BytesIO(content))
  splits = data.load(
    "cifar10",
    data_dir=str(folder / "tfds"),
    cache_dir=str(folder / "cache"),
    manual_dir=str(archive.parent),
    download=False,
    verify=False,
    valid_fraction=0.0,
  )
  every = [data.read_all(split)["image"] for split in splits if split]
  np.savez(folder / "tfds.npz", image=np.concatenate(every))


def _cifar(generator: np.random.Generator) -> bytes:
  """Returns ten records: a label and the planes of an image."""
  return b"".join(
    bytes([label]) + generator.bytes(3 * 32 * 32) for label in range(10)
  )

"""Hostile .npz files, as weights and as the inputs of predictions."""

import io
import os
import random
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
from hostile_inputs.case import Case, Kind, digits
from hostile_inputs.mutations import mutate_bytes, mutate_entry

from dlcore import data, models, transfer, trees
from dlcore.data import DataInfo

DEEP = 80
"""Hidden layers of the MLP of the archive with 60,000 members."""


def arrays(depth: int = 1) -> dict[str, np.ndarray]:
  """Returns the weights of the MLP, by published name."""
  layers = [(f"dense_{i}", 8 if i else 4, 8) for i in range(depth)]
  numbers = {}
  for name, inputs, outputs in (*layers, ("output", 8, 3)):
    kernel = np.arange(inputs * outputs, dtype=np.float32)
    numbers[f"params/{name}/kernel"] = kernel.reshape(inputs, outputs)
    numbers[f"params/{name}/bias"] = np.arange(outputs, dtype=np.float32)
  return numbers


def load(path: Path, depth: int = 1, allow: str = "") -> dict[str, np.ndarray]:
  """Loads the weights of an MLP."""
  import jax

  model = models.create("mlp", num_classes=3, widths=(8,) * depth)
  shapes = {
    name: jax.ShapeDtypeStruct(array.shape, array.dtype)
    for name, array in arrays(depth).items()
  }
  loaded, _ = transfer.load_pretrained(
    path, model, trees.nest(shapes), family="dlcore", allow=allow
  )
  return {k: np.asarray(v) for k, v in trees.flatten(loaded).items()}


def read(path: Path) -> None:
  """Reads the inputs of predictions."""
  schema = data.ArraySchema(
    input="features", target="label", classes=("a", "b")
  )
  inputs = {"features": ((4,), "float32")}
  info = DataInfo("arrays", 40, "0" * 64, inputs, (), schema)
  for _ in schema.read([path], info, 256):
    pass


def either(path: Path, generator: random.Random) -> Case:
  """Returns the case of weights or that of predictions."""
  if generator.random() < 0.5:
    return Case(lambda: load(path))
  return Case(lambda: read(path))


def header(text: str, version: int = 1) -> bytes:
  """Returns the start of a .npy file."""
  content = text.encode("latin1", "replace") + b"\n"
  size = struct.pack("<H" if version == 1 else "<I", len(content) % 65536)
  return b"\x93NUMPY" + bytes((version, 0)) + size + content


def described(descr: str, shape: str, fortran: str = "False") -> str:
  """Returns the header of an array."""
  return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}}}"


def archive(
  path: Path, members: dict[str, bytes], compression: int = 0
) -> Path:
  """Writes an archive."""
  with zipfile.ZipFile(path, "w", compression) as file:
    for name, content in members.items():
      file.writestr(name, content)
  return path


def many(folder: Path, generator: random.Random, valid: Path) -> Case:
  """60,000 members, besides those of a model of many layers."""
  path = folder / "a.npz"
  os.link(valid / "many.npz", path)
  if generator.random() < 0.5:
    return Case(lambda: load(path, DEEP, allow=".*"))
  return either(path, generator)


def claims(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Headers that claim any shape, dtype and nesting."""
  del valid
  big = str(abs(digits(generator)))
  shape = generator.choice(
    ("(64, 1000000000)", f"({big},)", "(-1, 4)", "(0, 1000000000000)", "4",
     "(True, 4)", "(4.0,)", "(" * 3000 + ")" * 3000, "((4,),)", "(40, 4)",
     "(" + "1," * 10_000 + ")", "(" + "-" * 5000 + "1,)")
  )  # fmt: skip
  descr = generator.choice(
    ("'<f4'", "'<f4'", "'O'", "'|O'", "'<f16'", "'M8[s]'", "'S1000000000'",
     "[('a', '<f4')]", "[" * 500 + "]" * 500, "'<f4' * 100", "'(1000,)f4'",
     "'V2'", "''", "None", "'<U0'", "'f4,f4'")
  )  # fmt: skip
  content = header(described(descr, shape), generator.choice((1, 1, 2, 3, 9)))
  names = [*arrays(), "features"]
  path = archive(folder / "a.npz", {f"{n}.npy": content for n in names})
  return either(path, generator)


def pickled(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Arrays of objects whose pickle runs code."""
  del valid

  class Call:
    def __reduce__(self):
      return os.system, ("gs from a pickle",)

  path = folder / "a.npz"
  value = np.array([Call()], object)
  names = [*arrays(), "features"]
  np.savez(path, **dict.fromkeys(names, value))  # pyright: ignore
  if generator.random() < 0.3:
    shutil.copy(path, folder / "b.safetensors")
    path = folder / "b.safetensors"
  return either(path, generator)


def bomb(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Zeros that expand, and members that overlap."""
  count = 40_000_000 * generator.choice((1, 4))
  content = header(described("'<f4'", f"({count // 4}, 4)"))
  path = folder / "a.npz"
  with zipfile.ZipFile(
    path, "w", zipfile.ZIP_DEFLATED, compresslevel=1
  ) as zipped:
    with zipped.open("features.npy", "w", force_zip64=True) as file:
      file.write(content)
      for _ in range(count // 1_000_000):
        file.write(bytes(4_000_000))
    info = zipped.infolist()[0]
    for name in arrays() if generator.random() < 0.5 else ():
      copy = zipfile.ZipInfo(f"{name}.npy")
      for field in ("CRC", "compress_size", "file_size", "header_offset"):
        setattr(copy, field, getattr(info, field))
      copy.compress_type = info.compress_type
      zipped.filelist.append(copy)
  del valid
  return either(path, generator)


def names(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Unusual members: paths, repetitions, encryption, compressions."""
  del valid
  stream = io.BytesIO()
  np.save(stream, np.ones((40, 4), np.float32))
  content, every = stream.getvalue(), dict(arrays())
  extra = generator.choice(
    ("../../x.npy", "/etc/x.npy", "a" * 60_000 + ".npy", "\x01.npy", ".npy",
     "x.pkl", "features.npy/", "params.npy")
  )  # fmt: skip
  members = {f"{n}.npy": content for n in [*every, "features"]} | {
    extra: content
  }
  compression = generator.choice(
    (
      zipfile.ZIP_STORED,
      zipfile.ZIP_DEFLATED,
      zipfile.ZIP_BZIP2,
      zipfile.ZIP_LZMA,
    )
  )
  path = archive(folder / "a.npz", members, compression)
  if generator.random() < 0.3:  # The flag of encryption.
    changed = path.read_bytes().replace(
      b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"
    )
    path.write_bytes(changed)
  return either(path, generator)


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """An archive that was mutated."""
  del valid
  path = folder / "a.npz"
  features = np.ones((40, 4), np.float32)
  save = generator.choice((np.savez, np.savez_compressed))
  save(path, features=features, **arrays())  # pyright: ignore
  as_weights = generator.random() < 0.7
  if as_weights:
    save(path, **arrays())  # pyright: ignore
  if generator.random() < 0.1:
    mutate_entry(path, generator)
    return either(path, generator)
  mutate_bytes(path, generator)
  if not as_weights:
    return Case(lambda: read(path))

  def silent(loaded: dict[str, np.ndarray]) -> str:
    """Compares the arrays, if the checksum of a member does not fit."""
    same = all(np.array_equal(a, loaded[n]) for n, a in arrays().items())
    try:
      with zipfile.ZipFile(path) as file:
        damaged = file.testzip()
    except Exception:  # The reader of the standard library refuses it.
      damaged = "the archive"
    if same or damaged is None:
      return ""
    return f"other numbers from {damaged}, which differs from its checksum"

  return Case(lambda: load(path), silent)


KIND = Kind(
  {
    "60,000 members": many,
    "claims": claims,
    "pickles": pickled,
    "bomb": bomb,
    "names": names,
  },
  mutate,
)

"""Hostile image files and folders, read by the data set image_folder."""

import os
import random
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from hostile_inputs.case import Case, Kind
from hostile_inputs.mutations import mutate_bytes, mutate_entry

from dlcore import data

FORMATS = (
  *("BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000", "MSP"),
  *("PCX", "PDF", "PNG", "PPM", "SGI", "SPIDER", "TGA", "TIFF", "WEBP", "EPS"),
)
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def folder_case(folder: Path, /, **settings: Any) -> Case:
  """Returns the case that loads a folder of classes."""

  def call() -> data.Splits:
    splits = data.load(
      "image_folder",
      path=str(folder),
      **{"cache_dir": str(folder.parent / "cache"), **settings},
    )
    data.read_all(splits.train)
    return splits

  return Case(call)


def write(folder: Path, generator: random.Random, valid: Path) -> Path:
  """Copies the valid folder; returns a file of it."""
  shutil.copytree(valid / "pictures", folder / "pictures")
  every = sorted((folder / "pictures").rglob("*.png"))
  return generator.choice(every)


def replaced(content):
  """Returns the generator of a folder with one file of other content."""

  def make(folder: Path, generator: random.Random, valid: Path) -> Case:
    path = write(folder, generator, valid)
    path.write_bytes(content(generator))
    return folder_case(
      folder / "pictures", on_bad=generator.choice(("error", "skip"))
    )

  return make


def eps(generator: random.Random) -> bytes:
  """Returns PostScript, which Pillow gives to Ghostscript."""
  size = generator.choice((8, 100))
  text = (
    f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 {size} {size}\n"
    "%%EndComments\nshowpage\n%%EOF\n"
  ).encode()
  if generator.random() < 0.5:
    return text
  header = struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, len(text), 0, 0, 0, 0, 0)
  return header + bytes(2) + text


def chunk(name: bytes, content: bytes) -> bytes:
  """Returns a chunk of a PNG."""
  checksum = zlib.crc32(name + content)
  return (
    struct.pack(">I", len(content))
    + name
    + content
    + struct.pack(">I", checksum)
  )


def png(
  width: int, height: int, depth: int, kind: int, *others: bytes
) -> bytes:
  """Returns a PNG of that header whose pixels are few zeros."""
  header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
  return b"".join(
    (
      b"\x89PNG\r\n\x1a\n",
      chunk(b"IHDR", header),
      *others,
      chunk(b"IDAT", zlib.compress(bytes(4096))),
      chunk(b"IEND", b""),
    )
  )


def claimed(generator: random.Random) -> bytes:
  """Returns a PNG that claims any size."""
  sizes = (0, 1, 7999, 8000, 10**5, 2**31 - 1, 2**32 - 1)
  return png(
    generator.choice(sizes),
    generator.choice(sizes),
    generator.choice((1, 8, 16, 255)),
    generator.choice((0, 2, 3, 6, 9)),
  )


def text_bomb(generator: random.Random) -> bytes:
  """Returns a PNG whose text or color profile expands."""
  packed = zlib.compress(bytes(50 << 20))
  name = generator.choice((b"zTXt", b"iCCP", b"iTXt"))
  middle = b"\0\1\0\0\0" if name == b"iTXt" else b"\0\0"
  return png(8, 8, 8, 0, *[chunk(name, b"key" + middle + packed)] * 8)


def bmp(generator: random.Random) -> bytes:
  """Returns a BMP of extreme sizes and offsets."""
  extremes = (0, 1, -1, 8, 2**31 - 1, -(2**31))
  fields = [generator.choice(extremes) for _ in range(6)]
  return (
    b"BM"
    + struct.pack("<iii", 54, 0, fields[0])
    + struct.pack(
      "<iiihhiiiiii", 40, fields[1], fields[2], 1, 24, 0, *fields[3:], 0, 0
    )
    + bytes(192)
  )


def tiff(generator: random.Random) -> bytes:
  """Returns a TIFF whose directories form a loop or point anywhere."""
  target = generator.choice((8, 0, 2**31 - 1, 2**32 - 1))
  tags = [
    (256, generator.choice((1, 2**16, 2**31))),
    (257, generator.choice((1, 2**16, 2**31))),
    *((258, 8), (259, 1), (262, 1), (273, target), (278, 1), (279, 2**31)),
    (generator.choice((330, 34665, 0x0112)), target),
  ]
  entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
  return (
    b"II*\0\x08\0\0\0"
    + struct.pack("<H", len(tags))
    + b"".join(entries)
    + struct.pack("<I", target)
  )


def other_format(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A picture of another format with the suffix of a PNG."""
  from PIL import Image

  path = write(folder, generator, valid)
  name = generator.choice(FORMATS)
  for mode in ("RGB", "L", "1", "F"):
    try:
      Image.new(mode, (32, 32)).save(path, name)
      break
    except (OSError, KeyError):
      path.write_bytes(b"")
  return folder_case(folder / "pictures", on_bad="skip")


def bombs(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Eight pictures of 8000x8000 at 16 bits, 124 KB each.

  They take time and memory as other pictures of that size do: more of them
  would exceed the bounds of the campaign.
  """
  target = write(folder, generator, valid).parent
  for number in range(8):
    os.link(valid / "bomb.png", target / f"bomb{number}.png")
  size = generator.choice((0, 0, 16))
  return folder_case(folder / "pictures", image_size=size)


def loops(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Links to themselves, to the parents and to devices."""
  path = write(folder, generator, valid)
  root = folder / "pictures"
  targets = (".", "..", "../..", path.name, "/dev/zero", "/proc/self", "/")
  for number in range(generator.randrange(1, 6)):
    where = generator.choice((root, path.parent))
    name = generator.choice(("a", "b.png", "train", "valid", "c.jpg"))
    link = where / f"{generator.choice(('', number))}{name}"
    if not link.exists() and not link.is_symlink():
      link.symlink_to(generator.choice((*targets, link.name)))
  return folder_case(root)


def entries(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Pipes, folders and odd names in place of pictures."""
  path = write(folder, generator, valid)
  match generator.randrange(6):
    case 0:
      path.unlink()
      os.mkfifo(path)
    case 1:
      path.unlink()
      path.mkdir()
    case 2:
      path.rename(path.with_name(os.fsdecode(b"\xff\n\xfe.png")))
    case 3:
      path.rename(path.with_name("a" * 250 + ".png"))
    case 4:
      path.parent.rename(path.parent.with_name(os.fsdecode(b"\xff\x00"[:1])))
    case _:
      for number in range(3000):
        (folder / "pictures" / f"class{number}").mkdir()
  return folder_case(folder / "pictures")


def settings(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Extreme settings."""
  write(folder, generator, valid)
  numbers = (-1, 0, 1, 2, 7999, 8000, 2**31, 10**30, 0.5, 1e300, float("nan"))
  names = ("image_size", "channels", "valid_fraction", "test_fraction")
  chosen = {generator.choice(names): generator.choice(numbers)}
  return folder_case(folder / "pictures", **chosen)


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A picture of any format that was mutated."""
  from PIL import Image

  path = write(folder, generator, valid)
  with Image.open(path) as image:
    before = np.asarray(image)
  name = generator.choice(("PNG", "PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"))
  if name != "PNG":
    with Image.open(path) as image:
      image.load()
    image.save(path, name)
  if generator.random() < 0.1:
    mutate_entry(path, generator)
    return folder_case(folder / "pictures")
  mutate_bytes(path, generator)
  case = folder_case(folder / "pictures", image_size=8, channels=1)
  if name != "PNG":
    return case

  def silent(splits: data.Splits) -> str:
    """Compares the pixels, if the checksum of a chunk does not fit."""
    if not has_damaged_chunk(path.read_bytes()):
      return ""
    every = np.concatenate([data.read_all(s)["image"] for s in splits if s])
    same = any(np.array_equal(image[..., 0], before) for image in every)
    return "" if same else "other pixels from a chunk with another checksum"

  return case._replace(silent=silent)


def has_damaged_chunk(content: bytes) -> bool:
  """Returns whether a chunk that matters differs from its checksum."""
  at = 8
  while at + 12 <= len(content):
    (size,), name = (
      struct.unpack(">I", content[at : at + 4]),
      content[at + 4 : at + 8],
    )
    end = at + 8 + size
    if name in CRITICAL and end + 4 <= len(content):
      checksum = struct.pack(">I", zlib.crc32(content[at + 4 : end]))
      if checksum != content[end : end + 4]:
        return True
    at = end + 4
  return False


KIND = Kind(
  {
    "EPS named .png": replaced(eps),
    "claimed size": replaced(claimed),
    "bombs": bombs,
    "other format": other_format,
    "text bomb": replaced(text_bomb),
    "link loops": loops,
    "BMP": replaced(bmp),
    "TIFF": replaced(tiff),
    "entries": entries,
    "settings": settings,
  },
  mutate,
)

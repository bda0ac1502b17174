"""Folders of images as they are, each with one kind of disorder."""

import colorsys
import io
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from messy_inputs.case import Case
from PIL import Image

CLASSES = ("cat", "dog", "fish")
COUNT = 12
"""Images of a class."""


def picture(
  rng: random.Random,
  label: int,
  size: tuple[int, int] = (32, 32),
  mode: str = "RGB",
) -> Image.Image:
  """Returns an image whose hue shows its class, with noise."""
  hue = (label / 3 + rng.uniform(-0.05, 0.05)) % 1
  color = tuple(round(255 * x) for x in colorsys.hsv_to_rgb(hue, 0.7, 0.8))
  image = Image.new("RGB", (8, 8), color)
  for _ in range(12):
    image.putpixel(
      (rng.randrange(8), rng.randrange(8)), (rng.randrange(256),) * 3
    )
  return image.resize(size).convert(mode)


def save(path: Path, image: Image.Image, kind: str = "") -> None:
  """Writes an image, in the format of the suffix or in `kind`."""
  path.parent.mkdir(parents=True, exist_ok=True)
  image.save(path, format=kind or None)


def fill(
  folder: Path,
  rng: random.Random,
  *,
  suffix: str = ".png",
  kind: str = "",
  count: int = COUNT,
  size: Callable[[], tuple[int, int]] = lambda: (32, 32),
  mode: Callable[[], str] = lambda: "RGB",
  inside: str = "",
) -> int:
  """Writes class folders; returns the number of images."""
  for label, name in enumerate(CLASSES):
    for i in range(count):
      path = folder / name / inside / f"{name}{i}{suffix}"
      save(path, picture(rng, label, size(), mode()), kind)
  return count * len(CLASSES)


def folders(
  change: Callable[[Path, random.Random], int] = lambda folder, rng: 0,
  outcome: str = "trained",
  path: str = "images",
  settings: Any = (),
  **options: Any,
) -> Case:
  """Returns the case of class folders to which `change` adds entries.

  Args:
    change: `(folder, generator) -> number of entries added`.
    outcome: see `Case`.
    path: of the folder to train on.
    settings: further overrides of the section `data`, as pairs.
    **options: see `fill`.
  """

  def make(folder: Path, rng: random.Random) -> int:
    count = fill(folder / "images", rng, **options)
    return count + change(folder / "images", rng)

  overrides = {"data.path": path}
  overrides |= {f"data.{key}": value for key, value in settings}
  return Case(make, overrides, "images", outcome=outcome)


def table(
  name: str,
  row: Callable[[random.Random, int, int], Iterable[Any]],
  header: str,
  outcome: str = "trained",
  path: str = "images",
  **data: str,
) -> Case:
  """Returns the case of images in one folder and a table of their labels.

  Args:
    name: of the table, inside of the folder.
    row: `(generator, image, class) -> cells`.
    header: names of the columns, separated by commas.
    outcome: see `Case`.
    path: to train on.
    **data: overrides of the section `data`.
  """

  def make(folder: Path, rng: random.Random) -> int:
    rows = []
    for i in range(COUNT * 3):
      save(folder / "images" / f"{i:03}.jpg", picture(rng, i % 3))
      rows.append([str(cell) for cell in row(rng, i, i % 3)])
    names = header.split(",")
    lines = [header, *map(",".join, rows)]
    if name.endswith(".jsonl"):
      pairs = (dict(zip(names, cells, strict=True)) for cells in rows)
      lines = list(map(json.dumps, pairs))
    (folder / "images" / name).write_text("\n".join(lines) + "\n")
    return COUNT * 3

  overrides = {"data.path": path}
  overrides |= {f"data.{key}": value for key, value in data.items()}
  return Case(make, overrides, "images", outcome=outcome)


def _write(name: str, content: bytes = b"", count: int = 1) -> Any:
  """Returns a change that adds files to the first class."""

  def change(folder: Path, rng: random.Random) -> int:
    del rng
    for i in range(count):
      path = folder / name.format(i)
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)
    return count

  return change


def _split(*names: str) -> Case:
  """Returns the case of folders of splits with such names."""

  def make(folder: Path, rng: random.Random) -> int:
    return sum(fill(folder / "images" / name, rng) for name in names)

  return Case(make, {"data.path": "images"}, "images", outcome="trained")


def _links(folder: Path, rng: random.Random) -> int:
  save(folder.parent / "elsewhere" / "x.png", picture(rng, 0))
  (folder / "cat" / "inside.png").symlink_to("cat0.png")
  (folder / "cat" / "outside.png").symlink_to(
    folder.parent / "elsewhere" / "x.png"
  )
  (folder / "cat" / "gone.png").symlink_to("nothing.png")
  (folder / "cat" / "circle").symlink_to(folder, target_is_directory=True)
  return 4


def _truncated(folder: Path, rng: random.Random) -> int:
  file = io.BytesIO()
  picture(rng, 0, (64, 64)).save(file, "JPEG")
  (folder / "cat" / "half.jpg").write_bytes(file.getvalue()[:400])
  (folder / "dog" / "text.png").write_text("not an image")
  (folder / "dog" / "empty.png").write_bytes(b"")
  return 3


def _single(folder: Path, rng: random.Random) -> int:
  save(folder / "rare" / "one.png", picture(rng, 1))
  return 1


def _copies(folder: Path, rng: random.Random) -> int:
  del rng
  images = sorted(folder.glob("*/*.png"))
  for path in images:
    path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
  return len(images)


def _clutter(folder: Path, rng: random.Random) -> int:
  del rng
  for name in (".DS_Store", "cat/Thumbs.db", "__MACOSX/cat/._cat0.png",
               "readme.txt", "dog/notes.pdf"):  # fmt: skip
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"clutter")
  return 5


def _empty_class(folder: Path, rng: random.Random) -> int:
  del rng
  (folder / "bird").mkdir()
  return 0


def _mixed(rng: random.Random) -> tuple[int, int]:
  return rng.randrange(20, 90), rng.randrange(20, 90)


SIZES = random.Random(0)
MODES = random.Random(1)

CASES: dict[str, Case] = {
  "class folders": folders(),
  "nested folders": folders(inside="2021/may"),
  "capitals": _split("Train", "Valid", "Test"),
  "training and testing": _split("training", "testing"),
  "one level too deep": Case(
    lambda folder, rng: fill(folder / "images" / "dataset", rng),
    {"data.path": "images"}, "images", outcome="refused",
  ),
  "suffixes in capitals": folders(suffix=".JPG"),
  ".jfif": folders(suffix=".jfif", kind="JPEG"),
  ".jpe": folders(suffix=".jpe", kind="JPEG"),
  ".webp": folders(suffix=".webp"),
  ".heic beside .png": folders(_write("cat/photo{}.heic", b"heic", 20)),
  "wrong suffixes": folders(suffix=".jpg", kind="PNG"),
  "links": folders(_links),
  "corrupt": folders(_truncated, "refused"),
  "corrupt skipped": folders(
    _truncated, settings=[("on_bad", "skip")]
  ),
  "phone photos": folders(
    size=lambda: (4032, 3024), count=4, suffix=".jpg"
  ),
  "mixed sizes": folders(size=lambda: _mixed(SIZES)),
  "mixed modes": folders(
    mode=lambda: MODES.choice(("L", "P", "RGB", "RGBA", "LA", "1", "I;16")),
  ),
  "tiny": folders(size=lambda: (1, 1)),
  "long strips": folders(size=lambda: (2000, 20)),
  "single image of a class": folders(_single),
  "empty class": folders(_empty_class, "refused"),
  "copies": folders(_copies),
  "clutter": folders(_clutter, ""),
  "images without folders": Case(
    lambda folder, rng: sum(
      save(folder / "images" / f"{i}.png", picture(rng, 0)) is None
      for i in range(9)
    ),
    {"data.path": "images"}, "images", outcome="refused",
  ),
  "no folder": folders(path="gone", outcome="refused"),
  "metadata.csv": table(
    "metadata.csv", lambda rng, i, c: (f"{i:03}.jpg", CLASSES[c]),
    "file_name,label",
  ),
  "metadata.jsonl": table(
    "metadata.jsonl", lambda rng, i, c: (f"{i:03}.jpg", CLASSES[c]),
    "file_name,label",
  ),
  "Kaggle's train.csv": table(
    "train.csv", lambda rng, i, c: (f"{i:03}", CLASSES[c]), "id,breed",
    path="images/train.csv",
  ),
  "several labels": table(
    "labels.csv",
    lambda rng, i, c: (f"{i:03}.jpg", " ".join(sorted({CLASSES[c], "pet"}))),
    "image,tags", path="images/labels.csv",
  ),
  "regression": table(
    "ages.csv",
    lambda rng, i, c: (f"{i:03}.jpg", f"{20 * c + rng.random():.2f}"),
    "image,age", path="images/ages.csv",
  ),
  "unknown names": table(
    "labels.csv", lambda rng, i, c: (f"{i + 5:03}.jpg", CLASSES[c]),
    "image,label", "refused", path="images/labels.csv",
  ),
}  # fmt: skip
"""By name; the seed decides the pixels."""

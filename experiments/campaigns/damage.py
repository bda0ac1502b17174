"""Ways to damage the files of a run folder, each `(file, run, generator)`."""

import os
import random
import shutil
from pathlib import Path


def flip(path: Path, run: Path, generator: random.Random) -> None:
  """Flips one bit, or several."""
  del run
  content = bytearray(path.read_bytes())
  for _ in range(generator.choice((1, 1, 2, 8))):
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
  path.write_bytes(content)


def truncate(path: Path, run: Path, generator: random.Random) -> None:
  """Removes the end of the file, or all of its content."""
  del run
  size = generator.choice((0, generator.randrange(path.stat().st_size)))
  os.truncate(path, size)


def remove(path: Path, run: Path, generator: random.Random) -> None:
  """Removes the file."""
  del run, generator
  path.unlink()


def swap(path: Path, run: Path, generator: random.Random) -> None:
  """Exchanges the content of the file and of another one of the run."""
  other = generator.choice([p for p in files(run) if p != path])
  content = path.read_bytes()
  path.write_bytes(other.read_bytes())
  other.write_bytes(content)


def link(path: Path, run: Path, generator: random.Random) -> None:
  """Replaces the file by a link, to a copy or to another file."""
  elsewhere = run.parent / f"{run.name}_elsewhere"
  if generator.random() < 0.5:
    shutil.copy(path, elsewhere)
  else:
    elsewhere = generator.choice([p for p in files(run) if p != path])
  path.unlink()
  path.symlink_to(elsewhere)


def zero(path: Path, run: Path, generator: random.Random) -> None:
  """Fills a block with zeros, like a disk that lost its cache."""
  del run
  content = bytearray(path.read_bytes())
  at = generator.randrange(len(content))
  block = content[at : at + 4096]
  content[at : at + 4096] = bytes(len(block))
  path.write_bytes(content)


def stale(path: Path, run: Path, generator: random.Random) -> None:
  """Adds files that a killed process may leave behind."""
  checkpoints = run / "checkpoints"
  steps = sorted(checkpoints.iterdir())
  step = generator.choice(steps)
  match generator.randrange(5):
    case 0:  # Orbax, before its commit.
      name = f"9999.orbax-checkpoint-tmp-{generator.randrange(99)}"
      shutil.copytree(step, checkpoints / name)
    case 1:  # A step without its manifest.
      shutil.copytree(step, checkpoints / "9999")
      (checkpoints / "9999" / "sha256.json").unlink()
    case 2:  # A step whose replacement was being written.
      shutil.copytree(step, checkpoints / f"{step.name}.replaced")
    case 3:
      path.with_name(path.name + ".tmp").write_bytes(path.read_bytes()[:-1])
    case 4:
      (step / "sha256.json.tmp").write_text("{")


def rename(path: Path, run: Path, generator: random.Random) -> None:
  """Copies or moves a step of the checkpoints to another number."""
  del path
  checkpoints = run / "checkpoints"
  step = generator.choice(sorted(checkpoints.iterdir()))
  target = checkpoints / str(int(step.name) + generator.choice((-7, 7, 5000)))
  if generator.random() < 0.5:
    shutil.copytree(step, target)
  else:
    step.rename(target)


def age(path: Path, run: Path, generator: random.Random) -> None:
  """Sets the times of all files between 1970 and 2100."""
  del path
  for file in files(run):
    when = generator.uniform(0, 4.1e9)
    os.utime(file, (when, when))


DAMAGES = {
  "flip": flip,
  "truncate": truncate,
  "remove": remove,
  "swap": swap,
  "link": link,
  "zero": zero,
  "stale": stale,
  "rename": rename,
  "age": age,
}


def files(run: Path) -> list[Path]:
  """Returns the files of a run that are not empty, in a fixed order."""
  every = (p for p in run.rglob("*") if p.is_file() and not p.is_symlink())
  return sorted(path for path in every if path.stat().st_size)


def select_file(run: Path, generator: random.Random) -> Path:
  """Returns a random file, half of the time one of the checkpoints."""
  inside, outside = [], []
  for path in files(run):
    within = path.relative_to(run).parts[0] == "checkpoints"
    (inside if within else outside).append(path)
  return generator.choice(generator.choice((inside, outside)))

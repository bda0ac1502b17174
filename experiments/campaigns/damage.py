"""Ways to damage the files of a run folder, each `(file, run, chance)`."""

import os
import random
import shutil
from pathlib import Path


def flip(path: Path, run: Path, chance: random.Random) -> None:
  """Flips one bit, or several."""
  del run
  content = bytearray(path.read_bytes())
  for _ in range(chance.choice((1, 1, 2, 8))):
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
  path.write_bytes(content)


def truncate(path: Path, run: Path, chance: random.Random) -> None:
  """Cuts off the end, or everything."""
  del run
  os.truncate(path, chance.choice((0, chance.randrange(path.stat().st_size))))


def remove(path: Path, run: Path, chance: random.Random) -> None:
  """Removes the file."""
  del run, chance
  path.unlink()


def swap(path: Path, run: Path, chance: random.Random) -> None:
  """Lets the file and another one of the run change their places."""
  other = chance.choice([p for p in files(run) if p != path])
  content = path.read_bytes()
  path.write_bytes(other.read_bytes())
  other.write_bytes(content)


def link(path: Path, run: Path, chance: random.Random) -> None:
  """Puts a link in the file's place, to a copy or to another file."""
  elsewhere = run.parent / f"{run.name}_elsewhere"
  if chance.random() < 0.5:
    shutil.copy(path, elsewhere)
  else:
    elsewhere = chance.choice([p for p in files(run) if p != path])
  path.unlink()
  path.symlink_to(elsewhere)


def zero(path: Path, run: Path, chance: random.Random) -> None:
  """Fills a block with zeros, as a disk does that lost its cache."""
  del run
  content = bytearray(path.read_bytes())
  at = chance.randrange(len(content))
  block = content[at : at + 4096]
  content[at : at + 4096] = bytes(len(block))
  path.write_bytes(content)


def stale(path: Path, run: Path, chance: random.Random) -> None:
  """Leaves what a process that died may leave behind."""
  checkpoints = run / "checkpoints"
  steps = sorted(checkpoints.iterdir())
  step = chance.choice(steps)
  match chance.randrange(5):
    case 0:  # Orbax, before its commit.
      name = f"9999.orbax-checkpoint-tmp-{chance.randrange(99)}"
      shutil.copytree(step, checkpoints / name)
    case 1:  # A step without its sums.
      shutil.copytree(step, checkpoints / "9999")
      (checkpoints / "9999" / "sha256.json").unlink()
    case 2:  # A step that was being written once more.
      shutil.copytree(step, checkpoints / f"{step.name}.replaced")
    case 3:
      path.with_name(path.name + ".tmp").write_bytes(path.read_bytes()[:-1])
    case 4:
      (step / "sha256.json.tmp").write_text("{")


def rename(path: Path, run: Path, chance: random.Random) -> None:
  """Copies or moves a step of the checkpoints under another number."""
  del path
  checkpoints = run / "checkpoints"
  step = chance.choice(sorted(checkpoints.iterdir()))
  target = checkpoints / str(int(step.name) + chance.choice((-7, 7, 5000)))
  if chance.random() < 0.5:
    shutil.copytree(step, target)
  else:
    step.rename(target)


def age(path: Path, run: Path, chance: random.Random) -> None:
  """Gives all files times from 1970 to 2100."""
  del path
  for file in files(run):
    when = chance.uniform(0, 4.1e9)
    os.utime(file, (when, when))


KINDS = {
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
  found = (p for p in run.rglob("*") if p.is_file() and not p.is_symlink())
  return sorted(path for path in found if path.stat().st_size)


def target(run: Path, chance: random.Random) -> Path:
  """Draws a file: of the checkpoints or beside them, evenly."""
  inside, beside = [], []
  for path in files(run):
    within = path.relative_to(run).parts[0] == "checkpoints"
    (inside if within else beside).append(path)
  return chance.choice(chance.choice((inside, beside)))

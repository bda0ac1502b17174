"""The free memory of this machine, and sizes of memory as text."""

from collections.abc import Iterator
from pathlib import Path

VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
VERSION_2 = ("memory.max", "memory.current")
"""The files of a control group with its limit and its usage in bytes."""

CACHES = ("total_inactive_file", "inactive_file")
"""Lines of `memory.stat`: pages that the kernel drops if memory is short."""


def free_memory(root: str | Path = "/") -> int | None:
  """Returns the memory that this process can still take, in bytes.

  That is the available RAM, or less if a control group, such as that of a
  container or a job, has a lower limit. Swap space does not count.

  Args:
    root: the folder with `proc` and `sys`.

  Returns:
    None where the system has no such files.
  """
  root = Path(root)
  bounds = [*_available(root), *_control_groups(root)]
  return max(min(bounds), 0) if bounds else None


def binary_size(count: float) -> str:
  """Returns a number of bytes with a binary prefix: `"1.5 GiB"`."""
  units = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
  power = min((max(int(count), 1).bit_length() - 1) // 10, len(units) - 1)
  return f"{count / 2 ** (10 * power):.1f} {units[power]}"


def _available(root: Path) -> Iterator[int]:
  for line in _lines(root / "proc/meminfo"):
    if line.startswith("MemAvailable:"):
      yield 1024 * int(line.split()[1])


def _control_groups(root: Path) -> Iterator[int]:
  """Yields the free memory of the control groups of this process."""
  base = root / "sys/fs/cgroup"
  for line in _lines(root / "proc/self/cgroup"):
    _, controllers, path = line.split(":", 2)
    if not controllers:
      yield from _free_of_parents(base, path, *VERSION_2)
    elif "memory" in controllers.split(","):
      yield from _free_of_parents(base / "memory", path, *VERSION_1)


def _free_of_parents(
  base: Path, path: str, limit_file: str, usage_file: str
) -> Iterator[int]:
  """Yields the free memory of a group and of those that contain it."""
  group = base / path.lstrip("/")
  for folder in (group, *group.parents):
    if not folder.is_relative_to(base):
      return
    limit, usage = _number(folder / limit_file), _number(folder / usage_file)
    if limit is not None and usage is not None:
      yield limit - usage + _cache(folder / "memory.stat")


def _cache(path: Path) -> int:
  """Returns the size of the cache that counts as usage of a group."""
  sizes = dict(line.rsplit(" ", 1) for line in _lines(path))
  return next((int(sizes[name]) for name in CACHES if name in sizes), 0)


def _number(path: Path) -> int | None:
  """Returns the number in a file, None for the word `max` or no file."""
  text = "".join(_lines(path)).strip()
  return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
  try:
    return path.read_text().splitlines()
  except (OSError, UnicodeDecodeError):
    return []

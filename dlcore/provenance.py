"""The machine, versions and commit that a measured figure belongs to."""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import dlcore

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

VECTOR_EXTENSIONS = {"amx_tile": "AMX", "avx512f": "AVX-512"}
"""Names of flags of Linux."""


def provenance(repository: str | Path) -> dict:
  """Returns the date, commit, machine and versions of a measurement.

  Args:
    repository: folder of the checkout.

  Returns:
    `date`; `commit`, with a plus if files have changed since, empty outside
    of a checkout; `machine`, as text; `versions` by package.
  """
  return {
    "date": time.strftime("%Y-%m-%d"),
    "commit": commit(repository),
    "machine": machine(),
    "versions": versions(),
  }


def versions() -> dict[str, str]:
  """Returns the versions of dlcore, Python and the packages for numerics."""
  return {
    "dlcore": dlcore.__version__,
    "python": platform.python_version(),
    **{name: metadata.version(name) for name in PACKAGES},
  }


def commit(repository: str | Path) -> str:
  """Returns the short hash of the commit, see `provenance`.

  Results that a measurement has just written do not count as changes.
  """

  def git(*arguments: str) -> str:
    result = subprocess.run(
      ["git", *arguments],
      cwd=repository,
      capture_output=True,
      text=True,
      check=False,
    )
    return result.stdout.strip()

  try:
    changes = ("status", "--porcelain", "--untracked-files=no", "--", ".")
    changed = git(*changes, ":(top,exclude,glob)**/results/*.json")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
  except OSError:  # Git is not installed.
    return ""


def machine(cpuinfo: str | Path = "/proc/cpuinfo") -> str:
  """Returns the CPU model, its vector extensions and the cores of this process.

  Args:
    cpuinfo: Linux's description of the CPU; elsewhere only its architecture
      is known.
  """
  fields = {}
  if os.path.exists(cpuinfo):
    lines = Path(cpuinfo).read_text(errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines)
    fields = {name.strip(): value.strip() for name, _, value in pairs}
  name = fields.get("model name") or platform.processor() or platform.machine()
  flags = fields.get("flags", "").split()
  details = [text for flag, text in VECTOR_EXTENSIONS.items() if flag in flags]
  if "cpu family" in fields and "model" in fields:
    number = f"family {fields['cpu family']} model {fields['model']}"
    details = [number, *details]
  details_text = f" ({', '.join(details)})" if details else ""
  return f"{name}{details_text}, {_cores()}"


def _cores() -> str:
  """Returns the number of cores that this process may use, as text."""
  if hasattr(os, "sched_getaffinity"):
    count = len(os.sched_getaffinity(0))
  else:  # macOS and Windows.
    count = os.cpu_count() or 1
  return f"{count} core{'s' * (count > 1)}"

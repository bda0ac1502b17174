"""Settings of malloc, XLA and the compilation cache, before JAX starts."""

import contextlib
import ctypes
import os
import platform
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_keeps_freed_blocks = False


def configure(config: Mapping[str, Any] | None = None) -> None:
  """Configures malloc, XLA flags and the cache before the backend starts."""
  configure_malloc()
  if config is not None and config["training"]["deterministic"]:
    xla_flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{xla_flags} --xla_gpu_deterministic_ops=true"
  enable_compilation_cache()


def configure_malloc() -> None:
  """Makes glibc keep freed large blocks instead of unmapping them every step.

  The page faults of fresh blocks may otherwise take a third of a step. All
  threads share one arena, since the arenas of threads hold blocks of at most
  64 MB. `DLCORE_MALLOC=default` turns this off; other allocators, which are
  preloaded, are left as they are.
  """
  global _keeps_freed_blocks
  default = os.environ.get("DLCORE_MALLOC") == "default"
  if default or _preloaded_allocator() is not None:
    return
  with contextlib.suppress(OSError, AttributeError):
    libc = ctypes.CDLL("libc.so.6")
    # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD, M_ARENA_MAX of malloc.h.
    mmap_threshold, trim_threshold, top_pad, arena_max = -3, -1, -2, -8
    libc.mallopt(mmap_threshold, 2**31 - 1)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 256 << 20)
    libc.mallopt(arena_max, 1)
    _keeps_freed_blocks = True


def keeps_freed_blocks() -> bool:
  """Returns whether malloc keeps freed blocks, see `configure_malloc`."""
  return _keeps_freed_blocks


def allocator() -> str:
  """Returns the allocator of this process, for the record of a run."""
  if (preloaded := _preloaded_allocator()) is not None:
    return preloaded
  if _keeps_freed_blocks:
    return "glibc, keeps freed blocks"
  return platform.libc_ver()[0] or platform.system()


def _preloaded_allocator() -> str | None:
  maps = Path("/proc/self/maps")
  libraries = maps.read_text() if maps.exists() else ""
  names = ("jemalloc", "tcmalloc", "mimalloc")
  return next((name for name in names if f"lib{name}" in libraries), None)


def enable_compilation_cache() -> None:
  """Caches compiled programs in a folder that only its owner can write."""
  import jax  # Late: malloc is configured before it allocates.

  if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    return
  root = os.environ.get("DLCORE_CACHE") or Path.home() / ".cache" / "dlcore"
  folder = Path(root) / "xla"
  try:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.lstat()
  except OSError:
    return
  writable_by_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
  if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
    return
  if writable_by_others:
    folder.chmod(0o700)
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

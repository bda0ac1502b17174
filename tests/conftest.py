"""Tests run offline, on the CPU, with eight virtual devices."""

import gc
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the time goes into compiling programs that run once or a few times.
os.environ["XLA_FLAGS"] = (
  "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
  " --xla_cpu_parallel_codegen_split_count=1"
)
# Many tests train the same small programs: each is compiled once a session.
# Workers and scripts that tests start inherit the folder, and a campaign shares
# one among its mutants.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  CACHE = tempfile.TemporaryDirectory(prefix="dlcore-tests-")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


@pytest.hookimpl(tryfirst=True)  # Before `-m` selects.
def pytest_collection_modifyitems(items):
  """Marks the cases that `fast_cases` does not name as slow."""
  for item in items:
    fast = item.get_closest_marker("fast_cases")
    if fast and item.callspec.id not in fast.args:
      item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module", autouse=True)
def few_compiled_programs():
  """Drops compiled programs before the process has too many memory mappings.

  XLA maps memory for every program. A process that reaches the limit of Linux
  (vm.max_map_count, 65,530) crashes in the next compilation.
  """
  yield
  import jax  # Late: it reads the environment that is set above.

  maps = Path("/proc/self/maps")
  if maps.exists() and maps.read_bytes().count(b"\n") > 15_000:
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def peak_memory():
  """Returns a function that runs a program in a process of its own.

  `peak_memory(program) -> (lines of its output, peak memory in kB)`.
  """
  # Of a child process, only Linux reports the peak without that of its parent.
  if not Path("/proc/self/status").exists():
    pytest.skip("the peak memory of a process is read from Linux's /proc")
  # Not ru_maxrss, which begins with the peak of the parent process.
  measure = """
import re
status = open("/proc/self/status").read()
print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""

  def run(program: str) -> tuple[list[str], int]:
    done = subprocess.run(
      [sys.executable, "-c", program + measure],
      capture_output=True,
      text=True,
      check=True,
      timeout=300,
    )
    *lines, peak = done.stdout.splitlines()
    return lines, int(peak)

  return run

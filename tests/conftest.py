"""Tests run offline, on the CPU, with eight virtual devices."""

import os
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the time goes into compiling programs that run once or a few times.
os.environ["XLA_FLAGS"] = (
  "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
# Many tests train the same small programs: each is compiled once a session.
# Workers and scripts that tests start inherit the folder.
if "PYTEST_XDIST_WORKER" not in os.environ:
  CACHE = tempfile.TemporaryDirectory(prefix="dlcore-tests-")
  os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

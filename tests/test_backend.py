"""The allocator of a process."""

import ctypes.util
import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
from dlcore import backend
backend.configure_malloc()
print(backend.allocator())
"""


def allocator(**environment):
  """Returns the allocator of a process that configures its own."""
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM],
    env={**os.environ, **environment},
    capture_output=True,
    text=True,
    check=True,
  )
  return done.stdout.strip()


# mallopt is a function of glibc; elsewhere the allocator stays as it is.
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_glibc_keeps_freed_blocks_unless_an_environment_variable_says_no():
  assert allocator() == "glibc, keeps freed blocks"
  assert allocator(DLCORE_MALLOC="default") == "glibc"


def test_a_preloaded_allocator_is_named():
  library = ctypes.util.find_library("jemalloc")
  if library is None:
    # A system package, which dlcore does not require.
    pytest.skip("jemalloc is not installed")
  assert allocator(LD_PRELOAD=library) == "jemalloc"

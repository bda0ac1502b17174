"""A copy of the repository in which one mutant at a time is tested."""

import compileall
import contextlib
import json
import os
import py_compile
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mutation.sites import Site

SERVER = Path(__file__).with_name("test_server.py")
START_SECONDS = 60.0
"""Time to import the tests, with room to spare."""


class Tree:
  """A copy of the repository, and a process that runs its tests."""

  def __init__(self, root: Path, folder: Path):
    """Copies the files of `root` that tests need to `folder`."""
    skipped = shutil.ignore_patterns(".*", "__pycache__", "runs", "shared")
    shutil.copytree(root, folder, ignore=skipped)
    # A mutant may have the size and, in seconds, the time of its original.
    compileall.compile_dir(
      folder / "dlcore",
      quiet=1,
      invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
    )
    self._folder = folder
    server = subprocess.Popen(
      [sys.executable, "-P", str(SERVER)],
      cwd=folder,
      env={
        **os.environ,
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "",
      },
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    assert server.stdout is not None  # It is a pipe.
    self._requests, self._answers = server.stdin, server.stdout

  @contextlib.contextmanager
  def mutated(self, site: Site) -> Iterator[None]:
    """Changes a file in the body."""
    file = self._folder / site.path
    text = file.read_text()
    file.write_text(site.apply(text))
    try:
      yield
    finally:
      file.write_text(text)

  def run_tests(self, tests: Sequence[str], seconds: float) -> dict[str, str]:
    """Returns the outcome of tests, by their ids, see `test_server`."""
    request = {"tests": list(tests), "seconds": START_SECONDS + seconds}
    start = time.time()
    print(json.dumps(request), file=self._requests, flush=True)
    answer = json.loads(self._answers.readline())
    if answer["outcome"] == "timeout":
      _remove_since(start, Path(os.environ["JAX_COMPILATION_CACHE_DIR"]))
    return answer


def _remove_since(start: float, cache: Path) -> None:
  """Removes programs that a killed process may have written in part."""
  for path in cache.iterdir():
    if path.stat().st_mtime >= start - 1:
      path.unlink()

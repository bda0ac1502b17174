"""One process at a time uses a folder, and no lock outlives its process."""

import errno
import fcntl
import os
import stat
import subprocess
import sys

import pytest

from dlcore.errors import UserError
from dlcore.filesystem import locked

HOLD = """
import pathlib, sys, time
from dlcore.filesystem import locked
with locked(pathlib.Path(sys.argv[1])):
  print("locked", flush=True)
  time.sleep(float(sys.argv[2]))
"""


def hold(folder, seconds):
  """Returns a process that has locked `folder` for `seconds`."""
  process = subprocess.Popen(
    [sys.executable, "-c", HOLD, str(folder), str(seconds)],
    stdout=subprocess.PIPE,
  )
  assert process.stdout is not None
  assert process.stdout.readline() == b"locked\n"
  return process


def test_a_locked_folder_is_refused_until_it_is_released(tmp_path):
  with (
    locked(tmp_path / "a" / "b"),
    pytest.raises(UserError, match="another run"),
    locked(tmp_path / "a" / "b"),
  ):
    pass
  with locked(tmp_path / "a" / "b"):
    pass


def test_a_killed_process_holds_no_lock(tmp_path):
  process = hold(tmp_path, 1000)
  with pytest.raises(UserError, match="another run"), locked(tmp_path):
    pass
  process.kill()
  process.communicate()
  with locked(tmp_path):
    pass


def test_a_waiting_process_gets_the_lock_after_the_other(tmp_path):
  process = hold(tmp_path, 0.2)
  with locked(tmp_path, wait=True):
    assert process.wait(10) == 0
  process.communicate()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(UserError, match="expected a writable folder"),
    locked(tmp_path / "file"),
  ):
    pass


def test_an_error_of_the_body_is_its_own_and_releases_the_lock(tmp_path):
  with pytest.raises(BlockingIOError, match="a pipe"), locked(tmp_path):
    raise BlockingIOError("a pipe")
  with locked(tmp_path):
    pass


def test_a_file_is_locked_where_the_file_system_cannot_lock_folders(
  tmp_path, monkeypatch
):
  flock = fcntl.flock

  def flock_on_nfs(file, operation):
    handle = file if isinstance(file, int) else file.fileno()
    if stat.S_ISDIR(os.fstat(handle).st_mode):
      raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    flock(handle, operation)

  monkeypatch.setattr(fcntl, "flock", flock_on_nfs)
  with (
    locked(tmp_path),
    pytest.raises(UserError, match="another run"),
    locked(tmp_path),
  ):
    pass
  with locked(tmp_path):
    pass

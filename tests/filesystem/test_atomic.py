"""A reader of a replaced file sees all of the old or all of the new content."""

import os
import time
from pathlib import Path

import pytest

from dlcore.filesystem import atomic, write_atomic


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_bytes_and_writers_replace_the_content(tmp_path):
  path = tmp_path / "file"
  write_atomic(path, b"first")
  write_atomic(path, lambda file: file.write(b"second"), fsync=True)
  assert path.read_bytes() == b"second"
  assert names(tmp_path) == ["file"]


def test_an_error_keeps_the_old_content_and_no_temporary_file(tmp_path):
  path = tmp_path / "file"
  write_atomic(path, b"old")

  def fail(file):
    file.write(b"half")
    raise OSError(28, "No space left on device")

  with pytest.raises(OSError, match="No space"):
    write_atomic(path, fail)
  assert path.read_bytes() == b"old"
  assert names(tmp_path) == ["file"]


def test_a_path_without_a_name_is_an_error_of_the_system(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(OSError, match=r"busy|directory"):
    write_atomic(Path("."), b"new")
  assert names(tmp_path) == []


def test_the_complete_new_file_is_seen_before_it_replaces_the_old(tmp_path):
  path = tmp_path / "file"
  write_atomic(path, b"old")
  seen = []
  write_atomic(
    path,
    b"new",
    before=lambda new: seen.append((new.read_bytes(), path.read_bytes())),
  )
  assert seen == [(b"new", b"old")]


@pytest.mark.parametrize("linked", ["target", "temporary"])
def test_links_are_replaced_and_never_followed(linked, tmp_path):
  other = tmp_path / "other"
  other.write_bytes(b"other")
  path = tmp_path / "file"
  link = path if linked == "target" else atomic.temporary_path(path)
  link.symlink_to(other)
  write_atomic(path, b"content")
  assert other.read_bytes() == b"other"
  assert path.read_bytes() == b"content"
  assert not path.is_symlink()


def test_only_old_temporary_files_of_the_same_file_are_removed(tmp_path):
  old = time.time() - 2 * atomic.STALE_SECONDS
  for name in (".file.1.tmp", ".file.2.tmp", ".other.1.tmp"):
    (tmp_path / name).write_bytes(b"half")
    if name != ".file.2.tmp":  # Another process may be writing it.
      os.utime(tmp_path / name, (old, old))
  write_atomic(tmp_path / "file", b"content")
  assert names(tmp_path) == [".file.2.tmp", ".other.1.tmp", "file"]


def test_a_new_file_has_the_permissions_of_an_ordinary_one(tmp_path):
  write_atomic(tmp_path / "file", b"content")
  (tmp_path / "plain").write_bytes(b"content")
  modes = {(tmp_path / name).stat().st_mode for name in ("file", "plain")}
  assert len(modes) == 1

"""Zip archives within bounds."""

import io
import struct
import warnings
import zipfile

import pytest

from dlcore import filesystem
from dlcore.filesystem import zip_file


def _archive(names, comment=b""):
  stream = io.BytesIO()
  with (
    warnings.catch_warnings(action="ignore"),  # Repeated names.
    zipfile.ZipFile(stream, "w") as archive,
  ):
    for name in names:
      archive.writestr(name, b"x")
    archive.comment = comment
  return stream.getvalue()


def _opened(content, max_members=10):
  with filesystem.open_zip(
    io.BytesIO(content), max_members=max_members
  ) as archive:
    return archive.namelist()


@pytest.mark.parametrize("comment", [b"", b"text", b"x" * 65535])
def test_a_small_archive_is_opened(comment):
  assert _opened(_archive(["a", "b"], comment)) == ["a", "b"]


@pytest.mark.parametrize("names", [map(str, range(11)), ["same"] * 11])
def test_too_many_members_are_refused(names):
  with pytest.raises(ValueError, match="11 members, more than 10"):
    _opened(_archive(names))


@pytest.mark.parametrize("comment", [b"", b"text"])
@pytest.mark.parametrize("claimed", [1, 300])
def test_a_long_list_is_refused_before_it_is_read(
  monkeypatch, comment, claimed
):
  content = bytearray(_archive(map(str, range(300)), comment))
  at = content.rfind(b"PK\5\6")
  # The number of members that the archive claims is of no use.
  struct.pack_into("<2H", content, at + 8, claimed, claimed)
  monkeypatch.setattr(zip_file, "MAX_DIRECTORY_BYTES", 10_000)

  def fail(*arguments):
    raise AssertionError("the list was read")

  monkeypatch.setattr(zipfile.ZipFile, "__init__", fail)
  with pytest.raises(ValueError, match="more than 10,000"):
    _opened(bytes(content), 1000)


def test_the_list_of_a_large_archive_is_bounded(monkeypatch):
  monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 100)
  content = _archive(map(str, range(300)))
  assert b"PK\6\6" in content
  assert len(_opened(content, 1000)) == 300
  monkeypatch.setattr(zip_file, "MAX_DIRECTORY_BYTES", 10_000)
  with pytest.raises(ValueError, match="more than 10,000"):
    _opened(content, 1000)


@pytest.mark.parametrize("content", [b"", b"PK", b"text" * 10, b"PK\5\6"])
def test_other_files_are_not_archives(content):
  with pytest.raises(zipfile.BadZipFile):
    _opened(content)

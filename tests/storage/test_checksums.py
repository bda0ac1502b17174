"""A file of a run that changed since it was written is recognized."""

import json
import time
from concurrent import futures

import pytest

from dlcore.errors import UserError
from dlcore.storage import checked_path, checksums, is_intact, write_file

NAME = "assets/data.json"


def test_a_written_file_is_intact_until_it_changes(tmp_path):
  write_file(tmp_path, NAME, b"first")
  assert checked_path(tmp_path, NAME).read_bytes() == b"first"
  (tmp_path / NAME).write_bytes(b"First")
  assert not is_intact(tmp_path, NAME)
  with pytest.raises(ValueError, match=r"differs from its checksum"):
    checked_path(tmp_path, NAME)
  write_file(tmp_path, NAME, lambda file: file.write(b"second"))
  assert checked_path(tmp_path, NAME).read_bytes() == b"second"


def test_a_kill_before_a_replacement_leaves_the_old_file_intact(
  tmp_path, monkeypatch
):
  write_file(tmp_path, NAME, b"first")
  write = checksums.write_atomic

  def killed(path, content, before=None, **settings):
    def die(new):
      if before:
        before(new)
        raise KeyboardInterrupt

    write(path, content, before=die, **settings)

  monkeypatch.setattr(checksums, "write_atomic", killed)
  with pytest.raises(KeyboardInterrupt):
    write_file(tmp_path, NAME, b"second")
  assert (tmp_path / NAME).read_bytes() == b"first"
  assert is_intact(tmp_path, NAME)
  (tmp_path / NAME).write_bytes(b"second")  # Killed right after it.
  assert is_intact(tmp_path, NAME)


def test_two_replacements_later_the_first_content_is_refused(tmp_path):
  for content in (b"first", b"second", b"third"):
    write_file(tmp_path, NAME, content)
  (tmp_path / NAME).write_bytes(b"first")
  assert not is_intact(tmp_path, NAME)


def test_a_file_without_a_checksum_is_accepted(tmp_path):
  (tmp_path / "config.json").write_text("{}")
  assert is_intact(tmp_path, "config.json")
  assert is_intact(tmp_path, checksums.LOG)
  assert checked_path(tmp_path, "config.json").read_text() == "{}"


def test_a_missing_file_with_a_checksum_is_not_intact(tmp_path):
  write_file(tmp_path, NAME, b"first")
  (tmp_path / NAME).unlink()
  assert not is_intact(tmp_path, NAME)
  with pytest.raises(FileNotFoundError):
    checked_path(tmp_path, NAME)


@pytest.mark.parametrize("link", ["file", "folder"])
def test_links_are_refused(link, tmp_path):
  run = tmp_path / "run"
  run.mkdir()
  write_file(run, NAME, b"first")
  moved = run / (NAME if link == "file" else "assets")
  moved.rename(tmp_path / "moved")
  moved.symlink_to(tmp_path / "moved")
  with pytest.raises(ValueError, match="it is a link"):
    checked_path(run, NAME)
  if link == "folder":
    with pytest.raises(UserError, match="expected a folder") as error:
      write_file(run, NAME, b"second")
    assert len(error.value.lines) == 3
  else:
    write_file(run, NAME, b"second")
  moved = tmp_path / "moved"
  kept = moved / "data.json" if moved.is_dir() else moved
  assert kept.read_bytes() == b"first"


def test_a_link_to_itself_is_refused(tmp_path):
  (tmp_path / "config.json").symlink_to("config.json")
  with pytest.raises(ValueError, match="it is a link"):
    checked_path(tmp_path, "config.json")


def test_a_file_is_not_written_below_a_file_nor_in_place_of_a_folder(tmp_path):
  (tmp_path / "assets").write_text("")
  with pytest.raises(UserError, match="expected a folder at"):
    write_file(tmp_path, NAME, b"first")
  (tmp_path / "summary.json").mkdir()
  with pytest.raises(UserError, match="expected to write a file at"):
    write_file(tmp_path, "summary.json", b"{}")


def test_a_run_folder_reached_through_a_link_is_accepted(tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "alias").symlink_to(tmp_path / "run")
  write_file(tmp_path / "alias", NAME, b"first")
  assert checked_path(tmp_path / "alias", NAME).read_bytes() == b"first"


BROKEN = {
  "not JSON": b"{",
  "list": b"[]",
  "too deep": b"[" * 100_000,
  "too large": b'{"a": "' + bytes(checksums.MAX_BYTES) + b'"}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_checksums_are_skipped_with_a_warning(content, tmp_path, caplog):
  write_file(tmp_path, NAME, b"first")
  (tmp_path / checksums.NAME).write_bytes(content)
  assert is_intact(tmp_path, NAME)
  assert "is skipped and nothing is compared" in caplog.text
  write_file(tmp_path, NAME, b"second")
  assert NAME in json.loads((tmp_path / checksums.NAME).read_text())


MALFORMED = [None, 7, [], {"10": 1}, {"x": [1, "a"]}, {"10": [-1, "a"]}]
MALFORMED += [{"9" * 5000: [1, "a"]}]


@pytest.mark.parametrize("marks", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_marks_of_the_log_are_ignored(marks, tmp_path):
  (tmp_path / checksums.NAME).write_text(json.dumps({checksums.LOG: marks}))
  assert is_intact(tmp_path, checksums.LOG)
  assert checksums.is_log_intact(tmp_path, 10)
  checksums.add_mark(tmp_path, 20, 3, "0")
  assert not is_intact(tmp_path, checksums.LOG)


def test_files_of_two_threads_keep_both_checksums(tmp_path, monkeypatch):
  """As those of the samples and of the log's marks in a run."""
  read = checksums._read

  def slow(workdir):
    content = read(workdir)
    time.sleep(0.02)  # The other thread would replace the file meanwhile.
    return content

  monkeypatch.setattr(checksums, "_read", slow)
  with futures.ThreadPoolExecutor(2) as threads:
    written = threads.submit(write_file, tmp_path, NAME, b"first")
    marked = threads.submit(checksums.add_mark, tmp_path, 5, 0, "")
    written.result(), marked.result()
  assert read(tmp_path).keys() == {NAME, checksums.LOG}

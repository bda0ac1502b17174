"""JSON of unknown origin is read from plain, small, valid files alone."""

import os

import pytest

from dlcore.filesystem import parse_json, read_json


def test_an_object_is_returned(tmp_path):
  (tmp_path / "file").write_text('{"name": "\u00fc", "rate": NaN}')
  value = read_json(tmp_path / "file", max_bytes=100)
  assert value["name"] == "\u00fc"


def test_a_value_of_64_levels_is_returned():
  value = parse_json(b"[" * 64 + b"]" * 64, expect=list)
  assert str(value).count("[") == 64


def test_a_list_is_returned_where_one_is_expected(tmp_path):
  (tmp_path / "file").write_text("[1]")
  assert read_json(tmp_path / "file", max_bytes=3, expect=list) == [1]


CONTENTS = {
  b"": "Expecting value",
  b"{": "Expecting property name",
  b"\xff{}": "utf-8",
  b"[1]": "expected a JSON object, got a value of type list",
  b"[" * 100_000: "nested more than 64 deep",
  b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}": "nested more than 64 deep",
  b'{"a": "' + b"x" * 200_000 + b'"}': "larger than 100,001 bytes",
}


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_other_contents_are_refused_with_the_reason(content, tmp_path):
  (tmp_path / "file").write_bytes(content)
  with pytest.raises(ValueError, match=CONTENTS[content]):
    read_json(tmp_path / "file", max_bytes=100_001)


def test_a_link_is_refused(tmp_path):
  (tmp_path / "file").write_text("{}")
  (tmp_path / "link").symlink_to(tmp_path / "file")
  with pytest.raises(ValueError, match="it is a link"):
    read_json(tmp_path / "link", max_bytes=100)


def test_a_folder_and_a_pipe_are_refused_without_waiting(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  for path in (tmp_path, tmp_path / "pipe"):
    with pytest.raises(ValueError, match="not a plain file"):
      read_json(path, max_bytes=100)


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
  with pytest.raises(FileNotFoundError):
    read_json(tmp_path / "file", max_bytes=100)


@pytest.mark.parametrize(
  ("content", "reason"),
  [
    (b'{"a": {"b": 1, "b": 2}}', "'b' occurs twice"),
    (b'{"a": NaN}', "NaN is not valid JSON"),
    (b'{"a": -Infinity}', "-Infinity is not valid JSON"),
  ],
)
def test_strict_reading_refuses_ambiguous_json(content, reason):
  assert parse_json(content).keys() == {"a"}
  with pytest.raises(ValueError, match=reason):
    parse_json(content, strict=True)


def test_a_repeated_name_is_reported_in_linear_time():
  names = ", ".join(f'"{i}": 0' for i in [*range(50_000), 49_999])
  with pytest.raises(ValueError, match="'49999' occurs twice"):
    parse_json(f"{{{names}}}".encode(), strict=True)

import json
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from dlcore.errors import UserError
from dlcore.transfer.io import safetensors

GOLDEN = Path(__file__).parents[1] / "golden" / "format.safetensors"
DATA = b"\0" * 24


def entry(start=0, stop=24, shape=(2, 3), dtype="F32"):
  return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, stop]}


def packed(header, data=DATA, length=None):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  length = len(text) if length is None else length
  return struct.pack("<Q", length) + text + data


def twice(name, one, other):
  return f'{{"{name}": {json.dumps(one)}, "{name}": {json.dumps(other)}}}'


HALVES = entry(0, 12, (3,)), entry(12, 24, (3,))
HOSTILE = {
  "an empty file": (b"", "0 bytes"),
  "a truncated header size": (b"\0" * 7, "7 bytes"),
  "a header longer than the file": (packed({}, b"", 1 << 20), "1,048,576"),
  "a header of 2^64 - 1 bytes": (packed({}, b"", 2**64 - 1), "18,446,744"),
  "a header larger than any": (
    packed(b"{" + b" " * (1 << 24) + b"}", b""),
    "at most",
  ),
  "an empty header": (packed(b"", b"\0" * 8), "not begin with a brace"),
  "a list": (packed(b"[]", b""), "not begin with a brace"),
  "invalid JSON": (packed(b"{'a': 1}", b""), "double quotes"),
  "invalid UTF-8": (packed(b'{"\xff": 1}', b""), "utf-8"),
  "deep nesting": (packed(b'{"a":' * 60000, b""), "nested more than 64"),
  "NaN in the header": (packed(b'{"a": NaN}', b""), "NaN"),
  "an integer of 5,000 digits": (
    packed(b'{"a": ' + b"9" * 5000 + b"}"),
    "digit",
  ),
  "a name twice": (packed(twice("a", *HALVES).encode()), "'a' occurs twice"),
  "a key twice": (
    packed(b'{"a": {"dtype": "F32", "dtype": "F16"}}'),
    "'dtype' occurs twice",
  ),
  "numbers as metadata": (packed({"__metadata__": {"a": 1}}), "metadata"),
  "an entry that is a number": (packed({"a": 3}), "keys"),
  "an entry without a shape": (
    packed({"a": {"dtype": "F32", "data_offsets": [0, 24]}}),
    "keys",
  ),
  "an entry with more": (packed({"a": {**entry(), "device": "x"}}), "keys"),
  "an unknown dtype": (packed({"a": entry(dtype="F31")}), "'F31'"),
  "a list as the dtype": (packed({"a": entry(dtype=[])}), "dtype"),
  "a negative size": (packed({"a": entry(shape=(-2, -3))}), "-2"),
  "a fraction as a size": (packed({"a": entry(shape=(1.5, 4))}), "1.5"),
  "true as a size": (packed({"a": entry(shape=(True, 6))}), "True"),
  "a size of 2^63": (packed({"a": entry(shape=(2**63,))}), "9223372036"),
  "a product that overflows": (
    packed({"a": entry(shape=(2**32, 2**32))}),
    "in 24 bytes",
  ),
  "a thousand axes": (packed({"a": entry(shape=(1,) * 1000)}), "shape"),
  "a huge tensor": (packed({"a": entry(0, 2**40, (2**38,))}), "of 24"),
  "a shape that is not the size": (
    packed({"a": entry(shape=(7,))}),
    "'a', F32",
  ),
  "offsets beyond the file": (packed({"a": entry(12, 36)}), "of 24"),
  "decreasing offsets": (packed({"a": entry(24, 0)}), "offsets"),
  "three offsets": (
    packed({"a": {**entry(), "data_offsets": [0, 12, 24]}}),
    "offsets",
  ),
  "a negative offset": (packed({"a": entry(-24, 0)}), "offsets"),
  "an overlap": (
    packed({"a": entry(0, 16, (4,)), "b": entry(12, 24, (3,))}),
    "overlap with 'b'",
  ),
  "the same bytes twice": (packed({"a": entry(), "b": entry()}), "overlap"),
  "a gap": (
    packed({"a": entry(0, 8, (2,)), "b": entry(12, 24, (3,))}),
    "gap before 'b'",
  ),
  "bytes without a tensor": (packed({"a": entry(0, 12, (3,))}), "12 bytes"),
  "a name of terminal control codes": (
    packed({"\x1b[2J": entry(dtype="X")}),
    "\\x1b",
  ),
  "a name with a lone surrogate": (
    packed(b'{"\\ud800": {"dtype": "X"}}'),
    "\\ud800",
  ),
  "a name of a megabyte": (packed({"a" * 2**20: 3}), "..."),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_invalid_header_is_refused_in_three_lines(case, tmp_path):
  content, expected = HOSTILE[case]
  path = tmp_path / "model.safetensors"
  path.write_bytes(content)
  with pytest.raises(UserError) as error:
    safetensors.File(path)
  assert expected in error.value.lines[1]
  assert len(error.value.lines) == 3
  for line in error.value.lines:
    assert len(line) < 300
    assert line.isprintable()


def link(path):
  (path.parent / "other").write_bytes(GOLDEN.read_bytes())
  path.symlink_to(path.parent / "other")


def dangling(path):
  path.symlink_to(path.parent / "absent")


@pytest.mark.parametrize(
  ("make", "expected"),
  [
    (link, "a link"),
    (dangling, "a link"),
    (os.mkfifo, "not a plain file"),
    (Path.mkdir, "not a plain file"),
    (lambda path: None, "No such file"),
  ],
)
def test_only_plain_files_are_opened(make, expected, tmp_path):
  path = tmp_path / "model.safetensors"
  make(path)
  with pytest.raises(UserError) as error:
    safetensors.File(path)
  assert expected in error.value.lines[1]
  assert len(error.value.lines) == 3


def test_links_into_a_trusted_folder_are_followed(tmp_path):
  link(tmp_path / "model.safetensors")
  file = safetensors.File(tmp_path / "model.safetensors", link_root=tmp_path)
  assert "b.weight" in file
  with pytest.raises(UserError, match="a link"):
    safetensors.File(tmp_path / "model.safetensors", link_root=tmp_path / "x")


def test_arrays_equal_those_that_pytorch_wrote():
  file = safetensors.File(GOLDEN)
  assert file.metadata == {"format": "pt"}
  assert {array.dtype for array in file.values()} == set(safetensors.NAMES)
  np.testing.assert_array_equal(file["b.weight"], [[0, 1, 2], [3, 4, 5]])
  assert file["a"].dtype == ml_dtypes.bfloat16
  assert file["a"].tolist() == [1, 1, 1]
  assert file['é"x\n'] == 5
  assert file["d"].shape == (0, 4)
  assert file["c"].tolist() == [True, False, True]
  assert file["i16"].tolist() == [-2]


def test_written_bytes_equal_those_of_the_safetensors_package(tmp_path):
  file = safetensors.File(GOLDEN)
  for names in (list(file), sorted(file)):
    arrays = {name: file[name] for name in names}
    safetensors.write(tmp_path / "new", arrays, file.metadata)
    assert (tmp_path / "new").read_bytes() == GOLDEN.read_bytes()


def test_arrays_are_read_only_views():
  array = safetensors.File(GOLDEN)["b.weight"]
  assert not array.flags.owndata
  assert not array.flags.writeable


def test_a_failed_write_keeps_the_old_file(tmp_path):
  path = tmp_path / "model.safetensors"
  safetensors.write(path, {"a": np.ones(3)})
  before = path.read_bytes()
  with pytest.raises(ValueError, match="b has the dtype object"):
    safetensors.write(path, {"b": np.array([None])})

  class Failing(dict):
    reads = 0

    def __getitem__(self, name):
      Failing.reads += 1
      if Failing.reads > 3:
        raise RuntimeError("half-way")
      return super().__getitem__(name)

  with pytest.raises(RuntimeError, match="half-way"):
    safetensors.write(path, Failing(a=np.zeros(3), b=np.zeros(2)))
  assert path.read_bytes() == before
  assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_fortran_order_and_scalars_are_written(tmp_path):
  arrays = {"t": np.arange(6.0).reshape(2, 3).T, "s": np.float32(2)}
  safetensors.write(tmp_path / "f", arrays)
  file = safetensors.File(tmp_path / "f")
  np.testing.assert_array_equal(file["t"], arrays["t"])
  assert file["s"].shape == ()

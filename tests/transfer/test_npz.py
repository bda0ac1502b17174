import io
import os
import struct
import warnings
import zipfile

import ml_dtypes
import numpy as np
import pytest

from dlcore.errors import UserError
from dlcore.filesystem import zip_file
from dlcore.transfer.io import npz

MAGIC = b"\x93NUMPY\x01\x00"
KERNEL = "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel"


def member(array):
  file = io.BytesIO()
  np.save(file, array)
  return file.getvalue()


def with_header(text, data=b"\0" * 24):
  """Returns a member with an arbitrary header."""
  header = text.encode() + b"\n"
  return MAGIC + struct.pack("<H", len(header)) + header + data


def fields(shape, descr="'<f4'"):
  return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def archive(path, members, method=zipfile.ZIP_STORED):
  with (
    warnings.catch_warnings(action="ignore"),  # About repeated names.
    zipfile.ZipFile(path, "w", method) as file,
  ):
    for name, content in members:
      file.writestr(name, content)


def changed(path, old, new):
  content = path.read_bytes()
  assert old in content
  path.write_bytes(content.replace(old, new))


class Malicious:
  def __reduce__(self):
    return os.abort, ()


VALID = member(np.arange(6, dtype=np.float32))
MEMBERS = {
  "an object": ("a.npy", with_header(fields("(1,)", "'|O'")), "dtype"),
  "records": ("a.npy", with_header(fields("(3,)", "[('x', '<i8')]")), "dtype"),
  "strings": ("a.npy", member(np.array(["abc"])), "dtype"),
  "too many numbers": ("a.npy", with_header(fields("(7,)")), "in 24 bytes"),
  "a huge array": ("a.npy", with_header(fields("(10**12,)")), "a: "),
  "an array of 2^60": (
    "a.npy",
    with_header(fields(f"({2**60},)")),
    "in 24 bytes",
  ),
  "a negative size": ("a.npy", with_header(fields("(-2, -3)")), "a: "),
  "code as a shape": (
    "a.npy",
    with_header(fields("__import__('os').abort()")),
    "a: ",
  ),
  "a header that is not Python": ("a.npy", with_header("((("), "a: "),
  "a long header": ("a.npy", with_header(fields("(6,)") + " " * 20000), "a: "),
  "not an array": ("a.npy", b"hello", "a: "),
  "an empty member": ("a.npy", b"", "a: "),
  "another version": ("a.npy", b"\x93NUMPY\x09\x00" + b"\0" * 40, "version"),
  "a text file": ("readme.txt", b"hello", "not an array"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_an_invalid_member_is_refused_in_three_lines(case, tmp_path):
  name, content, expected = MEMBERS[case]
  archive(tmp_path / "w.npz", [(name, content)])
  refused(tmp_path / "w.npz", expected.replace("a: ", "'a': "))


def refused(path, expected):
  with pytest.raises(UserError) as error:
    dict(npz.File(path))
  assert expected in error.value.lines[1]
  assert len(error.value.lines) == 3


def test_an_invalid_archive_is_refused_in_three_lines(tmp_path):
  path = tmp_path / "w.npz"
  path.write_bytes(b"PK\x05\x06 hello")
  refused(path, "zip")
  archive(path, [("a.npy", VALID)])
  path.write_bytes(path.read_bytes()[:-30])
  refused(path, "zip")
  archive(path, [("a.npy", VALID), ("a.npy", VALID)])
  refused(path, "'a' twice")
  archive(path, [("a.npy", VALID)])
  changed(path, np.float32(5).tobytes(), np.float32(6).tobytes())
  refused(path, "CRC")
  archive(path, [("a.npy", VALID)])
  changed(
    path, b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
  )
  refused(path, "not an array")


def test_a_small_archive_that_expands_to_a_large_one_is_refused(tmp_path):
  path = tmp_path / "w.npz"
  zeros = np.zeros(1 << 22, np.float32)
  archive(path, [("a.npy", member(zeros))], zipfile.ZIP_DEFLATED)
  refused(path, "expand to 16,777,344")


def test_a_long_list_of_members_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(zip_file, "MAX_DIRECTORY_BYTES", 100)
  archive(tmp_path / "w.npz", [(f"{i}.npy", VALID) for i in range(3)])
  refused(tmp_path / "w.npz", "the list of members has")


def test_pickles_are_not_executed(tmp_path):
  path = tmp_path / "w.npz"
  np.savez(path, a=np.array([Malicious()], object))
  refused(path, "dtype")


def test_a_link_is_refused(tmp_path):
  archive(tmp_path / "other", [("a.npy", VALID)])
  (tmp_path / "w.npz").symlink_to(tmp_path / "other")
  refused(tmp_path / "w.npz", "a link")


def test_names_that_look_like_paths_are_only_names(tmp_path):
  names = ["../../tmp/x", "/etc/passwd", KERNEL]
  archive(tmp_path / "w.npz", [(f"{name}.npy", VALID) for name in names])
  assert list(npz.File(tmp_path / "w.npz")) == names
  assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_arrays_equal_those_that_numpy_wrote(tmp_path):
  arrays = {
    KERNEL: np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.ones(3, ml_dtypes.bfloat16),
    "count": np.int64(3),
    "empty": np.zeros((0, 3), np.float16),
  }
  for save in (np.savez, np.savez_compressed):
    save(tmp_path / "w.npz", **arrays)
    loaded = dict(npz.File(tmp_path / "w.npz"))
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
      assert loaded[name].dtype == array.dtype
      np.testing.assert_array_equal(loaded[name], array)

import io
import os
import struct
import warnings
import zipfile

import ml_dtypes
import numpy as np
import pytest

from dlcore.errors import UserError
from dlcore.transfer import npz

MAGIC = b"\x93NUMPY\x01\x00"
KERNEL = "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel"


def member(array):
  file = io.BytesIO()
  np.save(file, array)
  return file.getvalue()


def said(text, data=b"\0" * 24):
  """Returns a member whose header says what it likes."""
  header = text.encode() + b"\n"
  return MAGIC + struct.pack("<H", len(header)) + header + data


def fields(shape, descr="'<f4'"):
  return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def archive(path, members, method=zipfile.ZIP_STORED):
  with (
    warnings.catch_warnings(action="ignore"),  # Of names that come twice.
    zipfile.ZipFile(path, "w", method) as file,
  ):
    for name, content in members:
      file.writestr(name, content)


def changed(path, old, new):
  content = path.read_bytes()
  assert old in content
  path.write_bytes(content.replace(old, new))


class Harm:
  def __reduce__(self):
    return os.abort, ()


FINE = member(np.arange(6, dtype=np.float32))
MEMBERS = {
  "an object": ("a.npy", said(fields("(1,)", "'|O'")), "dtype"),
  "records": ("a.npy", said(fields("(3,)", "[('x', '<i8')]")), "dtype"),
  "texts": ("a.npy", member(np.array(["abc"])), "dtype"),
  "too many numbers": ("a.npy", said(fields("(7,)")), "in 24 bytes"),
  "a huge array": ("a.npy", said(fields("(10**12,)")), "a: "),
  "an array of 2^60": ("a.npy", said(fields(f"({2**60},)")), "in 24 bytes"),
  "a negative size": ("a.npy", said(fields("(-2, -3)")), "a: "),
  "code as a shape": ("a.npy", said(fields("__import__('os').abort()")), "a: "),
  "a long header": ("a.npy", said(fields("(6,)") + " " * 20000), "a: "),
  "no array": ("a.npy", b"hello", "a: "),
  "nothing": ("a.npy", b"", "a: "),
  "another version": ("a.npy", b"\x93NUMPY\x09\x00" + b"\0" * 40, "version"),
  "a text file": ("readme.txt", b"hello", "no array"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_a_member_that_lies_is_told_in_three_lines(case, tmp_path):
  name, content, told = MEMBERS[case]
  archive(tmp_path / "w.npz", [(name, content)])
  refused(tmp_path / "w.npz", told.replace("a: ", "'a': "))


def refused(path, told):
  with pytest.raises(UserError) as error:
    dict(npz.File(path))
  assert told in error.value.lines[1]
  assert len(error.value.lines) == 3


def test_an_archive_that_lies_is_told_in_three_lines(tmp_path):
  path = tmp_path / "w.npz"
  path.write_bytes(b"PK\x05\x06 hello")
  refused(path, "zip")
  archive(path, [("a.npy", FINE)])
  path.write_bytes(path.read_bytes()[:-30])
  refused(path, "zip")
  archive(path, [("a.npy", FINE), ("a.npy", FINE)])
  refused(path, "'a' twice")
  archive(path, [("a.npy", FINE)])
  changed(path, np.float32(5).tobytes(), np.float32(6).tobytes())
  refused(path, "CRC")
  archive(path, [("a.npy", FINE)])
  changed(
    path, b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
  )
  refused(path, "no array")


def test_a_small_archive_that_becomes_large_is_refused(tmp_path):
  path = tmp_path / "w.npz"
  zeros = np.zeros(1 << 22, np.float32)
  archive(path, [("a.npy", member(zeros))], zipfile.ZIP_DEFLATED)
  refused(path, "expand to 16,777,344")


def test_pickles_are_not_run(tmp_path):
  path = tmp_path / "w.npz"
  np.savez(path, a=np.array([Harm()], object))
  refused(path, "dtype")


def test_a_link_is_refused(tmp_path):
  archive(tmp_path / "other", [("a.npy", FINE)])
  (tmp_path / "w.npz").symlink_to(tmp_path / "other")
  refused(tmp_path / "w.npz", "a link")


def test_names_are_names_wherever_they_point_to(tmp_path):
  names = ["../../tmp/x", "/etc/passwd", KERNEL]
  archive(tmp_path / "w.npz", [(f"{name}.npy", FINE) for name in names])
  assert list(npz.File(tmp_path / "w.npz")) == names
  assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_arrays_are_what_numpy_wrote(tmp_path):
  arrays = {
    KERNEL: np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.ones(3, ml_dtypes.bfloat16),
    "count": np.int64(3),
    "empty": np.zeros((0, 3), np.float16),
  }
  for save in (np.savez, np.savez_compressed):
    save(tmp_path / "w.npz", **arrays)
    found = dict(npz.File(tmp_path / "w.npz"))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
      assert found[name].dtype == array.dtype
      np.testing.assert_array_equal(found[name], array)

"""Paths that are not UTF-8 can be printed."""

import os

from dlcore.filesystem import printable


def test_bytes_that_are_not_utf_8_become_escapes():
  path = os.fsdecode(b"caf\xe9/\xc3\xa9.npz")
  assert printable(path) == "caf\\udce9/\xe9.npz"

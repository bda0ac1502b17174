"""Atomic files, bounded reading of JSON and archives, locks; no JAX."""

from dlcore.filesystem.atomic import make_folder, write_atomic
from dlcore.filesystem.json_file import open_plain, parse_json, read_json
from dlcore.filesystem.lock import locked
from dlcore.filesystem.printable import first_line, printable, quoted
from dlcore.filesystem.zip_file import open_zip

__all__ = [
  "first_line",
  "locked",
  "make_folder",
  "open_plain",
  "open_zip",
  "parse_json",
  "printable",
  "quoted",
  "read_json",
  "write_atomic",
]

"""Atomic files, bounded reading of JSON, and locks; imports no JAX."""

from dlcore.filesystem.atomic import write_atomic
from dlcore.filesystem.json_file import open_plain, parse_json, read_json
from dlcore.filesystem.lock import locked

__all__ = ["locked", "open_plain", "parse_json", "read_json", "write_atomic"]

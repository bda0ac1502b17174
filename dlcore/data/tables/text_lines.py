"""Lines of text files, plain or compressed with gzip, within bounds."""

import codecs
import contextlib
import gzip
import io
import pathlib
import zlib
from collections.abc import Iterator
from typing import IO

from dlcore.errors import UserError

MAX_CHARACTERS = 1 << 35
"""Characters of a file after decompression."""

NUL = "\0"

PIECE = 1 << 16
"""Bytes that are decoded at a time to locate one that is not text."""


def read_lines(path: pathlib.Path, limit: int) -> Iterator[str]:
  """Yields the lines of a text file; quoted line breaks become newlines.

  It is UTF-8, or UTF-16 if it begins with the byte order mark of that.

  Args:
    path: a text file; one whose name ends in ".gz" is decompressed.
    limit: number of characters after which a line is cut. Its first piece then
      has `limit + 1` characters.

  Raises:
    UserError: the file is unreadable, damaged, of another encoding, contains
      NUL characters or expands to more than 2^35 characters.
  """
  total = 0
  try:
    with _open(path) as file:
      while line := file.readline(limit + 1):
        total += len(line)
        if total > MAX_CHARACTERS:
          raise UserError(
            f"expected at most {MAX_CHARACTERS:,} characters in {path}",
            "got more",
            "split the file",
          )
        if NUL in line:  # As of UTF-16 without its mark, or of lost blocks.
          raise UnicodeError("a NUL character")
        yield line
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise UserError(
      f"expected a complete gzip file at {path}", f"got: {error}"
    ) from error
  except OSError as error:
    raise UserError(
      f"expected a readable file at {path}", f"got: {error.strerror or error}"
    ) from error
  except UnicodeError as error:
    raise UserError(
      f"expected UTF-8 text in {path}",
      f"got {_locate(path) or error}",
      'save it as UTF-8, which Excel names "CSV UTF-8"',
    ) from error


def _open(path: pathlib.Path) -> IO[str]:
  file, encoding = _open_bytes(path)
  return io.TextIOWrapper(file, encoding=encoding)


def _open_bytes(path: pathlib.Path) -> tuple[io.BufferedReader, str]:
  """Opens the content of a file, and returns it with its encoding."""
  compressed = path.suffix.lower() == ".gz"
  file = (
    io.BufferedReader(gzip.GzipFile(path)) if compressed else path.open("rb")
  )
  marked = file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
  return file, "utf-16" if marked else "utf-8-sig"


def _locate(path: pathlib.Path) -> str:
  """Returns the first byte or NUL that is not text, with its line.

  Empty if the file is text after all, or has changed meanwhile.
  """
  file, encoding = _open_bytes(path)
  decoder = codecs.getincrementaldecoder(encoding)()
  lines, end = 1, 0
  with file, contextlib.suppress(EOFError, OSError, zlib.error):
    while True:
      piece = file.read(PIECE)
      end += len(piece)
      try:
        text, nul, _ = decoder.decode(piece, final=not piece).partition(NUL)
        lines += text.count("\n")
        if nul:
          return f"a NUL character in line {lines}"
      except UnicodeDecodeError as error:
        before, byte = error.object[: error.start], error.object[error.start]
        lines += before.decode(error.encoding, "ignore").count("\n")
        position = end - len(error.object) + error.start
        return f"the byte 0x{byte:02x} in line {lines}, at position {position}"
      if not piece:
        break
  return ""

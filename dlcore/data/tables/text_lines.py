"""Lines of text files, plain or compressed with gzip, within bounds."""

import codecs
import gzip
import io
import pathlib
import zlib
from collections.abc import Iterator
from typing import IO

from dlcore.errors import UserError

MAX_CHARACTERS = 1 << 35
"""Characters of a file after decompression."""


def read_lines(path: pathlib.Path, limit: int) -> Iterator[str]:
  """Yields the lines of a text file; quoted line breaks become newlines.

  It is UTF-8, or UTF-16 if it begins with the byte order mark of that.

  Args:
    path: a text file; one whose name ends in ".gz" is decompressed.
    limit: number of characters after which a line is cut. Its first piece then
      has `limit + 1` characters.

  Raises:
    UserError: the file is unreadable, damaged, of another encoding or expands
      to more than 2^35 characters.
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
      f"got {error}",
      'save it as UTF-8, which Excel names "CSV UTF-8"',
    ) from error


def _open(path: pathlib.Path) -> IO[str]:
  compressed = path.suffix.lower() == ".gz"
  file = (
    io.BufferedReader(gzip.GzipFile(path)) if compressed else path.open("rb")
  )
  marked = file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
  return io.TextIOWrapper(file, encoding="utf-16" if marked else "utf-8-sig")

"""Writing of frozen text sets, shared by the scripts in this folder."""

import csv
import gzip
import hashlib
import io
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

FOLDER = (
  Path(__file__).resolve().parents[2] / "dlcore" / "data" / "text" / "files"
)


def require(**versions: str) -> None:
  """Checks the versions of packages: another version has other data."""
  for package, version in versions.items():
    found = metadata.version(package)
    if found != version:
      raise SystemExit(f"expected {package}=={version}\ngot {found}")


def share(text: str) -> float:
  """Returns a number from 0 to 1 that is a hash of the text."""
  digest = hashlib.sha256(text.encode()).digest()
  return int.from_bytes(digest[:6], "big") / 2**48


def write_table(
  name: str, columns: Sequence[str], rows: Iterable[Sequence]
) -> None:
  """Writes `NAME.csv.gz` with the names of the columns in the first line."""
  table = io.StringIO()
  writer = csv.writer(table, lineterminator="\n")
  writer.writerow(columns)
  writer.writerows(rows)
  write(f"{name}.csv", table.getvalue())


def write(name: str, text: str) -> None:
  """Writes `NAME.gz`, and prints its size and the sha256 of the text.

  The bytes of the compressed file depend on the version of zlib, so the
  checksum is that of the text.
  """
  content = text.encode()
  compressed = gzip.compress(content, 9, mtime=0)
  FOLDER.mkdir(parents=True, exist_ok=True)
  (FOLDER / f"{name}.gz").write_bytes(compressed)
  print(f"{name}.gz: {len(compressed):,} of {len(content):,} bytes")
  print(f"sha256 of the text: {hashlib.sha256(content).hexdigest()}")

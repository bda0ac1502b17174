"""Where the trials of a search are kept: a journal file, or a database."""

import contextlib
import fcntl
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from dlcore.errors import UserError, install_hint

LOCK_SUFFIX = ".lock"

ATTEMPTS = 10
"""Times that the tables of a database are created or found."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


class FlockLock:
  """A lock that the kernel releases when its process ends, however it ends.

  After those of Optuna, a process that was killed while it wrote stops all
  others for 30 s.
  """

  def __init__(self, path: Path):
    """Locks the journal at `path` by a file beside it."""
    self._path = path
    self._handle: int | None = None

  def acquire(self) -> bool:
    """Waits for the lock, and removes a last line that is not complete."""
    name = f"{self._path}{LOCK_SUFFIX}"
    handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(handle, fcntl.LOCK_EX)
    self._handle = handle  # Another thread may have waited too.
    _remove_incomplete_line(self._path)
    return True

  def release(self) -> None:
    """Releases the lock."""
    if self._handle is not None:
      os.close(self._handle)
      self._handle = None


def _remove_incomplete_line(path: Path) -> None:
  """Removes the bytes after the last line break, of a killed process."""
  with contextlib.suppress(FileNotFoundError), path.open("rb+") as file:
    size = file.seek(0, os.SEEK_END)
    position = size
    while position:
      start = max(0, position - 4096)
      file.seek(start)
      found = file.read(position - start).rfind(b"\n")
      if found >= 0:
        position = start + found + 1
        break
      position = start
    if position < size:
      file.truncate(position)


def open_storage(location: str) -> BaseStorage:
  """Returns the storage of a search.

  Args:
    location: path of a journal file, created if missing, or the URL of a
      database, such as `postgresql+psycopg://user@host/name`.

  Raises:
    UserError: it cannot be opened, or is damaged.
  """
  if "://" in location:
    return _open_database(location)
  path = Path(location)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_lines(path)
    lock: Any = FlockLock(path)  # Its base class is private.
    backend = JournalFileBackend(str(path), lock_obj=lock)
    return JournalStorage(backend)
  except OSError as error:
    raise UserError(
      f"expected a journal file that can be written at {path}",
      f"got: {error.strerror or error}",
      "choose another --storage",
    ) from error


def _check_lines(path: Path) -> None:
  """Checks that a journal holds JSON objects.

  Raises:
    UserError: gives the first line that is none.
  """
  if not path.exists():
    return
  with path.open("rb") as file:
    for number, line in enumerate(file, 1):
      if not line.endswith(b"\n"):  # Its process was killed.
        break
      try:
        is_entry = isinstance(json.loads(line), dict)
      except ValueError:
        is_entry = False
      if not is_entry:
        raise UserError(
          f"expected the journal of a search at {path}",
          f"got a damaged line {number}: {line[:60]!r}",
          "remove the line, or choose another --storage",
        )


def _open_database(url: str) -> BaseStorage:
  import sqlalchemy  # Not at the top: most searches use a journal.

  for _ in range(ATTEMPTS):
    try:
      return optuna.storages.RDBStorage(
        url, engine_kwargs={"pool_pre_ping": True}
      )
    except ImportError as error:
      raise UserError(
        f"expected the driver of {url.partition('://')[0]}",
        f"got: {error}",
        install_hint("database"),
      ) from error
    except sqlalchemy.exc.ArgumentError as error:
      raise _no_database(error) from error
    except (
      sqlalchemy.exc.IntegrityError,
      sqlalchemy.exc.ProgrammingError,
    ) as error:  # Another process was creating the tables.
      failure = error
      time.sleep(random.uniform(0.1, 1.0))
    except sqlalchemy.exc.SQLAlchemyError as error:
      raise _no_database(error) from error
  raise _no_database(failure) from failure


def close_storage(storage: BaseStorage) -> None:
  """Closes the connections to a database."""
  storage.remove_session()
  backend = getattr(storage, "_backend", storage)
  if engine := getattr(backend, "engine", None):
    engine.dispose()


def _no_database(error: Exception) -> UserError:
  reason = str(getattr(error, "orig", None) or error).strip()
  return UserError(
    "expected a database that can be reached at --storage",
    f"got: {reason.splitlines()[0] if reason else type(error).__name__}",
    "such as postgresql+psycopg://USER@HOST/NAME",
  )

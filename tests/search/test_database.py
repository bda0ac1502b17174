"""Processes share a search in PostgreSQL, which the test starts."""

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from test_shared_study import check_all_once, start

BINARIES = sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [
  str(Path(shutil.which("postgres") or "/").parent)
]
SERVER = Path(BINARIES[-1]) / "postgres"


@pytest.fixture
def database(tmp_path):
  """Starts a server on a free port, and returns the URL of a database."""
  pytest.importorskip("psycopg")
  if not SERVER.exists():
    # `.ci/run` installs it; no other part of dlcore needs it.
    pytest.skip("PostgreSQL is not installed")
  # The server refuses to run as root; the Debian package adds the user.
  user = "postgres" if os.getuid() == 0 else None
  folder = Path("/tmp") / f"dlcore-postgres-{os.getpid()}"
  folder.mkdir(mode=0o777)
  folder.chmod(0o777)
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  try:
    data = folder / "data"
    settings = ["-D", data, "-U", "postgres", "--auth=trust", "--no-sync"]
    subprocess.run(
      [SERVER.with_name("initdb"), *settings],
      check=True,
      user=user,
      cwd="/",
      capture_output=True,
    )
    server = subprocess.Popen(
      [SERVER, "-D", data, "-p", str(port), "-k", folder, "-F"],
      user=user,
      cwd="/",
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    try:
      wait_for(port)
      yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
      server.send_signal(signal.SIGINT)  # Does not wait for clients.
      server.wait()
  finally:
    shutil.rmtree(folder, ignore_errors=True)


def wait_for(port):
  """Waits until the server answers."""
  ready = SERVER.with_name("pg_isready")
  command = [ready, "-h", "127.0.0.1", "-p", str(port)]
  for _ in range(200):
    with contextlib.suppress(OSError):
      if subprocess.run(command, capture_output=True).returncode == 0:
        return
    time.sleep(0.1)
  raise TimeoutError("PostgreSQL did not start")


@pytest.mark.slow
def test_four_workers_of_which_two_are_killed(database, tmp_path):
  output = tmp_path / "output"
  workers = [start(database, 40, 0.4, output) for _ in range(4)]
  for worker in workers:
    assert worker.stdout.readline()  # It has begun its first trial.
  for worker in workers[:2]:
    worker.kill()
    worker.communicate()
  for worker in workers[2:]:
    worker.communicate(timeout=120)
    assert worker.returncode == 0
  trials = check_all_once(database, 40, output)
  assert any("dropped" in one.user_attrs for one in trials)

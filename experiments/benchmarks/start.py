"""Start-up times: imports, and the first step of a run."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def measure(repeats: int) -> dict:
  """Returns medians over processes, in seconds.

  `models` and `flax` are imports; `cold` and `warm` are the time from the
  command `python experiments/train.py` to the end of its first step, without
  and with a compilation cache.
  """
  imports = {
    "flax": "import jax, flax.linen",
    "models": "from dlcore import models",
  }
  seconds = {name: [] for name in (*imports, "cold", "warm")}
  for _ in range(repeats):
    for name, code in imports.items():
      seconds[name].append(_time([sys.executable, "-c", code]))
    with tempfile.TemporaryDirectory() as cache:
      seconds["cold"].append(_first_step(cache))
      seconds["warm"].append(_first_step(cache))
  medians = {name: statistics.median(rows) for name, rows in seconds.items()}
  return {name: round(value, 2) for name, value in medians.items()}


def _time(command: list[str]) -> float:
  start = time.perf_counter()
  subprocess.run(command, check=True, cwd=ROOT)
  return time.perf_counter() - start


def _first_step(cache: str) -> float:
  """Returns the seconds to the first line of a log of every step."""
  with tempfile.TemporaryDirectory() as workdir:
    start = time.perf_counter()
    process = subprocess.Popen(
      [
        sys.executable,
        "experiments/train.py",
        f"--workdir={workdir}",
        "--config.training.log_every=1",
      ],
      cwd=ROOT,
      env={**os.environ, "DLCORE_CACHE": cache},
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    log = Path(workdir) / "metrics.jsonl"
    while not (log.exists() and log.stat().st_size):
      time.sleep(0.005)
      if process.poll() is not None:
        raise RuntimeError("the run ended before its first step")
    seconds = time.perf_counter() - start
    process.wait()  # The second run needs the whole cache of the first.
  return seconds

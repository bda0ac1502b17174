"""A process that works on a search whose trials take a moment."""

import os
import sys
import time

import optuna

from dlcore import search
from dlcore.search.algorithms import Request
from dlcore.search.journal import open_storage
from dlcore.search.shared_study import SharedStudy

SPACE = search.parse(
  "optim.name=adamw|sgd optim.momentum[optim.name=sgd]=uniform(0,0.9) "
  "optim.learning_rate=log(1e-4,1e-1)"
)
LEAVES = {"optim.name": "adamw", "optim.learning_rate": 1e-3}


def open_study(location, trials, algorithm="random", **changes):
  settings = {"metric": "valid/accuracy", **changes.pop("settings", {})}
  request = Request(SPACE, LEAVES, trials, 0)
  return SharedStudy(
    open_storage(location),
    SPACE,
    LEAVES,
    **{
      "sampler": search.ALGORITHMS[algorithm].sampler(request),
      "pruner": optuna.pruners.NopPruner(),
      "maximize": True,
      "settings": settings,
      "trials": trials,
      **changes,
    },
  )


def work(location, trials, seconds, output):
  """Runs trials until all have a result; appends the finished numbers."""
  study = open_study(location, trials)
  while True:
    points = study.ask(2)
    if not points and not study.waits():
      break
    for point in points:
      print("trial", point.number, time.time(), flush=True)
      time.sleep(seconds)
      study.tell(point, -abs(point.values["optim.learning_rate"] - 0.01))
      handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
      os.write(handle, f"{point.number}\n".encode())
      os.close(handle)
    if not points:
      time.sleep(0.05)
  study.close()


if __name__ == "__main__":
  optuna.logging.set_verbosity(optuna.logging.ERROR)
  work(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])

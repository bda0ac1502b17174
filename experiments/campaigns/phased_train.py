"""Runs experiments/train.py and writes its current phase to a file.

  phased_train.py --phase_file=FILE --workdir=DIR [--config...]

FILE has 16 bytes; a campaign reads it to choose when to disturb the run. With
--clock=SEED the wall clock jumps by up to ten years whenever it is read.
"""

import mmap
import random
import sys
import time
from pathlib import Path

from absl import flags

from dlcore import command
from dlcore.training import Phases

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import train

PHASE_FILE = flags.DEFINE_string("phase_file", "", "a file of 16 bytes")
CLOCK = flags.DEFINE_integer("clock", None, "seed of the jumps of the clock")


def main(config, name):
  """Trains, with the name of the current phase in --phase_file."""
  with open(command.required(PHASE_FILE), "r+b") as file:
    page = mmap.mmap(file.fileno(), 16)
  enter = Phases.__call__

  def write_and_enter(self, name: str):
    page[:] = name.encode().ljust(16, b"\0")
    return enter(self, name)

  Phases.__call__ = write_and_enter
  if CLOCK.value is not None:
    make_clock_jump(random.Random(CLOCK.value))
  train.main(config, name)


def make_clock_jump(generator: random.Random) -> None:
  """Makes the wall clock jump forwards and backwards."""
  seconds, years = time.time, 10 * 365 * 86_400

  def jumping() -> float:
    return seconds() + generator.uniform(-years, years)

  time.time = jumping
  time.time_ns = lambda: int(1e9 * jumping())


if __name__ == "__main__":
  command.run(main, config="configs/digits_cnn.py")

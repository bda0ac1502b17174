"""Gives dlcore hostile files and settings, and classifies the outcomes.

  hostile.py --count=1400 --seeds=7,8,9 --workdir=runs/hostile
  hostile.py --seeds=7 --only=123                repeats one case
  hostile.py --kinds=texts,prompts --count=4000  of texts alone

Half of the inputs are written on purpose, such as EPS named .png, JSON 100,000
deep and arrays that claim a terabyte. The other half are valid inputs that are
mutated at random. An input is a function of a seed and its number. Each is
read in a process of its own, forked from one that has imported dlcore, as a
user reads it: by a script, `data.load`, `transfer.from_pretrained`,
`transfer.load_adapters` or `transfer.load_tokenizer`. Every outcome is one of

  worked     it ended without an error
  refused    it stopped with an error of at most three lines, exit code 2
  traceback  an exception that is no UserError, or a longer error: a defect
  hang       more than --seconds of CPU time, or that long without any: a defect
  memory     more than --memory GiB resident: a defect
  abort      the process died by a signal or without a result: a defect
  foreign    a program was started, or a class of a pickle loaded: a defect
  silent     a file was accepted that its checksum contradicts: a defect

The last line is one JSON object; --output writes it to a file after each seed.
"""

import collections
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Most of the time goes into compiling programs that run once.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from absl import flags
from hostile_inputs import (
  adapters,
  archives,
  images,
  prompts,
  records,
  runs,
  settings,
  tables,
  text_data,
  texts,
  valid,
  weights,
  worker,
)
from hostile_inputs.case import ROOT, Case, Kind

from dlcore import command, storage
from dlcore.errors import UserError, lookup
from dlcore.provenance import provenance

KINDS: dict[str, Kind] = {
  "images": images.KIND,
  "tables": tables.KIND,
  "archives": archives.KIND,
  "weights": weights.KIND,
  "tokenizers": texts.KIND,
  "texts": text_data.KIND,
  "prompts": prompts.KIND,
  "runs": runs.KIND,
  "records": records.KIND,
  "settings": settings.KIND,
  "adapters": adapters.KIND,
}
PREPARATION = worker.Bounds(600.0, 8 << 30)
"""Of the valid inputs."""

COUNT = flags.DEFINE_integer("count", 4000, "number of inputs per seed")
FIRST = flags.DEFINE_integer("first", 0, "number of the first input")
SEEDS = flags.DEFINE_list("seeds", ["0"], "seeds of the inputs")
ONLY = flags.DEFINE_list("only", [], "numbers of the inputs to repeat")
ONLY_KINDS = flags.DEFINE_list("kinds", [], "kinds of inputs (default: all)")
SECONDS = flags.DEFINE_float("seconds", 20.0, "bound on CPU seconds")
MEMORY = flags.DEFINE_float("memory", 4.0, "bound on resident GiB")
WORKDIR = flags.DEFINE_string("workdir", "runs/hostile", "folder of the inputs")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")


def main():
  """Runs the campaign and prints the table."""
  folder = Path(WORKDIR.value).absolute()
  result = {}
  with storage.locked(folder):
    for result in measure(folder):
      if OUTPUT.value:
        Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(json.dumps(result))
  if result["bad"]:
    raise UserError(
      "expected every input to be read or refused",
      f"got {len(result['bad'])} of {result['inputs']} that were not: "
      f"{result['bad'][0]}",
    )


def measure(folder: Path) -> Iterator[dict]:
  """Reads the inputs that the flags select; yields the counts per seed."""
  os.environ["DLCORE_CACHE"] = str(folder / "dlcore_cache")
  kinds = {name: lookup(KINDS, name, "kind") for name in ONLY_KINDS.value}
  every = range(FIRST.value, FIRST.value + COUNT.value)
  numbers = list(map(int, ONLY.value)) or every
  started = worker.write_stubs(folder)
  preload(folder)
  prepare(folder, started)
  bounds = worker.Bounds(SECONDS.value, int(MEMORY.value * 2**30))
  campaign = Campaign(folder, bounds, started)
  for seed in map(int, SEEDS.value):
    for number in numbers:
      kind, _, _ = worker.case_of(seed, number, KINDS)
      if not kinds or kind in kinds:
        campaign.call(seed, number, keep=bool(ONLY.value))
    yield campaign.result()


def preload(folder: Path) -> None:
  """Imports all that a case may need, so that the workers have it.

  JAX's backend is not started: its threads do not survive a fork.
  """
  import jax
  import sklearn.datasets  # noqa: F401
  import tensorflow_datasets  # noqa: F401
  import tensorstore  # noqa: F401
  import tokenizers  # noqa: F401
  from PIL import Image

  from dlcore import experiment, report, transfer  # noqa: F401

  Image.init()
  jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
  warnings.simplefilter("ignore")


def prepare(folder: Path, started: Path) -> None:
  """Makes the valid inputs in a worker, unless they are there already.

  Raises:
    UserError: it failed.
  """
  root = folder / "valid"
  if (root / "expected.json").exists():
    return
  (folder / "case").mkdir(exist_ok=True)

  def make() -> Case:
    return Case(lambda: valid.make(root))

  outcome = worker.call(make, folder / "case", PREPARATION, started)
  if outcome.name != "worked":
    raise UserError(
      f"expected to make the valid inputs in {root}",
      f"got {outcome.name}: {outcome.reason} {outcome.where}",
    )


class Campaign:
  """Reads hostile inputs one after the other, and counts the outcomes."""

  def __init__(self, folder: Path, bounds: worker.Bounds, started: Path):
    """Takes the folder with the valid inputs."""
    self._folder, self._bounds, self._started = folder, bounds, started
    self._inputs: dict[int, int] = collections.Counter()
    self._table: dict[str, collections.Counter] = collections.defaultdict(
      collections.Counter
    )
    self._bad: list[str] = []
    self._seconds, self._peak = 0.0, 0
    self._start = time.monotonic()

  def call(self, seed: int, number: int, *, keep: bool) -> None:
    """Makes and reads one input.

    Args:
      seed: of the input.
      number: of the input.
      keep: whether to keep the input and to print an outcome that is good.
    """
    kind, name, make = worker.case_of(seed, number, KINDS)
    folder = self._folder / (f"case_{number}" if keep else "case")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    inputs, valid_inputs = folder / "inputs", self._folder / "valid"

    def make_case() -> Case:
      inputs.mkdir()
      return make(inputs, valid_inputs)

    outcome = worker.call(make_case, folder, self._bounds, self._started)
    self._inputs[seed] += 1
    self._table[kind][outcome.name] += 1
    self._seconds += outcome.seconds
    self._peak = max(self._peak, outcome.peak)
    is_bad = outcome.name not in ("worked", "refused")
    reason = outcome.reason.replace(f"{self._folder}/", "")
    line = (
      f"{seed}:{number} {kind}, {name}: {outcome.name}, {reason} "
      f"{outcome.where} [{outcome.seconds:.1f} s]"
    )
    if is_bad:
      self._bad.append(line)
    if is_bad or keep:
      print(line, flush=True)

  def result(self) -> dict:
    """Returns the counts of all inputs so far."""
    return {
      **provenance(ROOT),
      "seeds": dict(self._inputs),
      "inputs": sum(self._inputs.values()),
      "bounds": {
        "cpu_seconds": self._bounds.seconds,
        "resident_gib": self._bounds.memory / 2**30,
      },
      "cpu_seconds": round(self._seconds, 1),
      "seconds": round(time.monotonic() - self._start, 1),
      "peak_gib": round(self._peak / 2**30, 2),
      "table": {
        kind: {
          name: self._table[kind][name]
          for name in (*worker.OUTCOMES, "invalid")
          if self._table[kind][name]
        }
        for kind in KINDS
        if kind in self._table
      },
      "bad": self._bad,
    }


if __name__ == "__main__":
  command.run(main)

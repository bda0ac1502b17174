"""Why gates exist: how far back recurrent networks and attention remember.

  long_memory.py --workdir=runs/long_memory

Trains an RNN, an LSTM, a GRU and a transformer of about equal size on the
adding problem and on delayed copying (`memory_problems.py`) with series of 10
to 500 steps. Each is trained for the same number of steps with each of the
learning rates, and the run with the smallest error on validation data is
reported. Short series have several seeds. The page in --workdir shows the test
errors by length, and the norms of the gradients by distance, before training
and after it.

An estimate of the time is 25 minutes on two cores. The same command continues
an interrupted study. --fast is a small one that shows whether everything works.
"""

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import memory_charts
import numpy as np
from absl import flags
from memory_problems import MODELS, PROBLEMS, gradient_norms

from dlcore import command, data, optim, training, trees
from dlcore.provenance import provenance

WORKDIR = flags.DEFINE_string(
  "workdir", "runs/long_memory", "folder of the runs and the page"
)
STEPS = flags.DEFINE_integer("steps", 1000, "steps of each run")
SEEDS = flags.DEFINE_integer("seeds", 3, "number of seeds for short series")
FAST = flags.DEFINE_bool("fast", False, "a few steps with short series")
OUTPUT = flags.DEFINE_string("output", "", "a file for the JSON object")

BATCH_SIZE = 32

HELD_OUT = 2000
"""Number of examples of validation data, and of test data."""


class Plan(NamedTuple):
  """The size of the study."""

  steps: int
  seeds: int
  rates: tuple[float, ...] = (2e-3, 1e-2)
  """Learning rates to choose from."""

  lengths: tuple[int, ...] = (10, 30, 100, 300, 500)

  longest_repeated: int = 100
  """Longest series that is trained with all seeds."""

  gradient_length: int = 100
  """Length of the series whose gradients are measured."""


class Run(NamedTuple):
  """A trained network."""

  rate: float
  valid: float
  """Error on validation data."""

  test: float
  state: training.State


def main():
  """Finishes the runs, and writes the page and the JSON object."""
  plan = Plan(STEPS.value, SEEDS.value)
  if FAST.value:
    plan = Plan(4, 2, (1e-2,), (6, 8), longest_repeated=6, gradient_length=8)
  workdir = Path(command.required(WORKDIR))
  result = {**provenance(Path(__file__).parent), **study(plan, workdir)}
  if OUTPUT.value:
    Path(OUTPUT.value).write_text(json.dumps(result, indent=1) + "\n")
  print(memory_charts.write(workdir / "report.html", result))
  print(json.dumps(result))


def study(plan: Plan, workdir: Path) -> dict[str, Any]:
  """Returns errors and rates by problem, model and length, and gradients."""
  errors, rates = (
    {problem: {model: [] for model in MODELS} for problem in PROBLEMS}
    for _ in range(2)
  )
  parameters: dict[str, dict[str, int]] = {problem: {} for problem in PROBLEMS}
  gradients = {}
  for problem, length, model in itertools.product(
    PROBLEMS, plan.lengths, MODELS
  ):
    best, *others = train_all(problem, model, length, plan, workdir)
    tests = [best.test, *(run.test for run in others)]
    errors[problem][model].append(tests)
    rates[problem][model].append(best.rate)
    parameters[problem][model] = trees.count(best.state.params)
    print(f"{problem} {length} {model}: {tests}, rate {best.rate}", flush=True)
    if problem == "adding" and length == plan.gradient_length:
      gradients[model] = measure_gradients(model, length, best.state)
  return {
    "steps": plan.steps,
    "batch_size": BATCH_SIZE,
    "lengths": plan.lengths,
    "rates": plan.rates,
    "trivial": {name: problem.trivial for name, problem in PROBLEMS.items()},
    "parameters": parameters,
    "error": errors,
    "rate": rates,
    "gradient_length": plan.gradient_length,
    "gradients": gradients,
  }


def train_all(
  problem: str, model: str, length: int, plan: Plan, workdir: Path
) -> list[Run]:
  """Returns the run with the best rate, and those of the other seeds."""

  def train_one(rate: float, seed: int) -> Run:
    folder = workdir / problem / f"{model}_{length}" / f"rate_{rate:g}"
    return train(problem, model, length, rate, seed, plan.steps, folder)

  runs = [train_one(rate, 0) for rate in plan.rates]
  best = min(runs, key=lambda run: run.valid)
  seeds = plan.seeds if length <= plan.longest_repeated else 1
  return [best, *(train_one(best.rate, seed) for seed in range(1, seeds))]


def train(
  problem: str,
  model: str,
  length: int,
  rate: float,
  seed: int,
  steps: int,
  folder: Path,
) -> Run:
  """Trains a network, each example once, and measures its errors."""
  make, make_task, outputs, error, _ = PROBLEMS[problem]
  task = make_task(MODELS[model](**outputs))
  schedule = optim.schedule("warmup_cosine", learning_rate=rate, steps=steps)
  result = training.fit(
    task,
    optim.create("adam", learning_rate=schedule, clip_norm=1.0),
    make(length, steps * BATCH_SIZE, seed),
    steps=steps,
    seed=seed,
    batch_size=BATCH_SIZE,
    workdir=folder / f"seed_{seed}",
    settings={"model": model, "learning_rate": rate},
    progress=False,
  )
  valid, test = (
    error(evaluate(result.last) or {})
    for evaluate in (
      training.Evaluator(task, source, batch_size=100)
      for source in held_out(problem, length)
    )
  )
  return Run(rate, valid, test, result.last)


def held_out(problem: str, length: int) -> tuple[data.Source, data.Source]:
  """Returns validation and test data, the same for all seeds."""
  make = PROBLEMS[problem].make
  return make(length, HELD_OUT, 1_000_000), make(length, HELD_OUT, 2_000_000)


def measure_gradients(
  model: str, length: int, state: training.State
) -> dict[str, list[float]]:
  """Returns the norms of a network of the adding problem, see the page."""
  problem = PROBLEMS["adding"]
  network = MODELS[model](**problem.outputs)
  test = held_out("adding", length)[1].read(np.arange(200))
  initial, _ = problem.task(network).init(jax.random.key(0), test)
  return {
    name: gradient_norms(network, {"params": params}, test["features"]).tolist()
    for name, params in {"initial": initial, "trained": state.params}.items()
  }


if __name__ == "__main__":
  command.run(main)

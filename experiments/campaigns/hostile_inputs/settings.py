"""Hostile command lines."""

import random
import shutil
from pathlib import Path
from typing import Any

from hostile_inputs.case import Case, Kind, Script, digits

from dlcore import experiment
from dlcore.experiment import defaults

LONG = ("training.steps", "training.epochs")
"""Settings whose large values mean long runs, so only a summary is printed."""

VALUES = ("-1", "0", "2147483647", "2147483648", "9223372036854775808", "1e300",
          "1e-320", "nan", "inf", "-inf", "", "None", "()", "(,)", "x",
          "lambda: 1", "'", "\\x00", "٣", "1_0", "0x10", "1e400", "1j", "True",
          "__import__('os').system('gs')", "(1,)*10**9", "9**9**9",
          "(2147483648,)", "(8,)", "((8,),)", "{}", "[1]",
          "9" * 5000)  # fmt: skip

NAMES = ("adafactor", "adam", "adan", "lamb", "lars", "lion", "muon", "rmsprop",
         "sgd", "radam", "schedule_free_adamw", "sam", "novograd")  # fmt: skip


def train(
  folder: Path, valid: Path, *overrides: str, summary: bool = False
) -> Case:
  """Returns the case of a short run with overrides."""
  arguments = [f"--config={valid / 'table.py'}", *overrides]
  arguments.append("--summary" if summary else f"--workdir={folder / 'run'}")
  return Case(Script("train", tuple(arguments)))


def leaves(valid: Path) -> dict[str, Any]:
  """Returns the settings of the valid run."""
  tree = experiment.RunFolder(valid / "runs" / "table").config()
  return defaults.leaves(tree)


def value(generator: random.Random) -> str:
  """Returns a hostile value."""
  nested_text = "(" * 900 + ")" * 900
  many = f"({','.join(['8'] * 100_000)})"
  return generator.choice(
    (*VALUES, str(digits(generator)), str(digits(generator)), nested_text,
     "[" * 100_000, "-" * 5000 + "1", many, f"({10**30},)", "1+" * 5000 + "1")
  )  # fmt: skip


def override(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A setting with an extreme value."""
  path = generator.choice(sorted(leaves(valid)))
  text = value(generator)
  return train(folder, valid, f"--config.{path}={text}", summary=path in LONG)


def number(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A numeric setting with an integer of 30 to 5,000 digits, or of 32 bits."""
  names = ("optim.l2", "optim.l1", "optim.clip_layer", "optim.clip_norm",
           "optim.learning_rate", "optim.weight_decay", "model.dropout",
           "optim.schedule.warmup_steps", "training.eval_every",
           *("training.log_every", "training.max_consecutive_skips") * 3,
           "training.checkpoint_every", "training.patience", "training.ema",
           "training.accumulate", "training.steps_per_call", "seed",
           "training.spike_factor", "training.max_rollbacks", "data.limit",
           "data.batch_size", "data.workers", "training.keep_every",
           "training.eval_batch_size", "sharding.devices",
           "training.layer_statistics_every")  # fmt: skip
  known = leaves(valid)
  path = generator.choice([name for name in names if name in known])
  text = generator.choice(
    (str(2**31 - 1), str(2**31), str(2**32), str(2**63), str(10**18),
     "1e38", "1e39",
     *[str(digits(generator))] * 6, "-1", "1e308", "1e-45")
  )  # fmt: skip
  return train(folder, valid, f"--config.{path}={text}")


def optimizer(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A setting of another optimizer or schedule with an extreme value."""
  section = generator.choice(("optim", "optim.schedule", "model"))
  table = sorted(defaults.TABLES[section][0])
  name = generator.choice(table)
  own = sorted(defaults.settings(section, name)) or ["x"]
  path = f"{section}.{generator.choice(own)}"
  changed = f"--config.{path}={value(generator)}"
  big = section == "model"
  return train(
    folder, valid, f"--config.{section}.name={name}", changed, summary=big
  )


def closed(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Standard streams that are closed."""
  run = shutil.copytree(valid / "runs" / "table", folder / "run")
  streams = generator.choice(((2,), (2,), (2,), (1,), (0,), (0, 1, 2)))
  where = f"--workdir={run}"
  steps = "--config.training.steps=4"  # The finished run makes one more.
  script, arguments = generator.choice(
    (
      ("train", (f"--config={valid / 'table.py'}", where, steps)),
      ("train", (f"--config={valid / 'table.py'}", where, steps)),
      ("evaluate", (where,)),
      ("predict", (where, str(valid / "table.csv"))),
      ("report", (str(run),)),
      ("train", ("--x",)),
    )
  )
  return Case(Script(script, arguments, streams))


def flags(folder: Path, generator: random.Random, valid: Path) -> Case:
  """Extreme flags of every script."""
  run = shutil.copytree(valid / "runs" / "table", folder / "run")
  where = f"--workdir={run}"
  paths = ("\0", "", "/dev/null", "/dev/zero", "a" * 5000, "/proc/self/mem",
           "\n", "/" * 5000, str(run / "config.json"), "\udcff")  # fmt: skip
  path = generator.choice(paths)
  text = generator.choice((value(generator), str(digits(generator)), "-5"))
  script, arguments = generator.choice(
    (
      ("evaluate", (where, f"--step={text}")),
      ("evaluate", (where, f"--split={text}")),
      ("evaluate", (f"--workdir={path}",)),
      ("predict", (where, path)),
      ("predict", (where, f"--step={text}", str(valid / "table.csv"))),
      ("report", (path,)),
      ("report", (str(run), f"--output={path}")),
      ("export", (where, "--format=safetensors", f"--output={path}")),
      ("export", (where, "--format=stablehlo", f"--output={path}")),
      ("export", (where, f"--format={text}", "--output=/dev/full")),
      ("export", (where, "--format=stablehlo", "--output=/dev/full")),
      ("train", (f"--config={path}",)),
      ("train", (f"--config={valid / 'table.py'}", f"--profile={text}")),
      ("train", (f"--config={valid / 'table.py'}", f"--workdir={path}")),
      ("train", (f"--seeds={text}", f"--config={valid / 'table.py'}")),
    )
  )
  return Case(Script(script, tuple(arguments)))


def mutate(folder: Path, generator: random.Random, valid: Path) -> Case:
  """A valid override in which characters were changed."""
  known = leaves(valid)
  path = generator.choice(sorted(known))
  text = f"--config.{path}={known[path]}"
  for _ in range(generator.choice((1, 1, 3))):
    at = generator.randrange(9, len(text) + 1)
    new = generator.choice(("", "=", ".", "9", "-", "e9", "(", "\0", "'", "é"))
    text = text[:at] + new + text[at + generator.choice((0, 1)) :]
  long = any(text.startswith(f"--config.{name}") for name in LONG)
  return train(folder, valid, text, summary=long)


KIND = Kind(
  {
    "override": override,
    "number": number,
    "closed streams": closed,
    "flags": flags,
    "entries of tables": optimizer,
  },
  mutate,
)

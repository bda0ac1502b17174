"""Trains an experiment, or continues the run in --workdir.

train.py                                      the digits CNN
train.py --config=configs/mnist_cnn.py --workdir=runs/mnist
train.py --config.model.name=mlp --config.optim.learning_rate=3e-3
train.py --seeds=5                            mean and interval over five seeds
train.py --profile=100:110                    a jax.profiler trace of ten steps
"""

import logging
import re

from absl import flags

from dlcore import command
from dlcore.errors import UserError

WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "the run folder (default: runs/ and the names of config and overrides)",
)
SUMMARY = flags.DEFINE_bool(
  "summary", False, "print layers, parameters, FLOPs and schedule, and exit"
)
SEEDS = flags.DEFINE_integer(
  "seeds",
  0,
  "train with that many seeds, each in a folder seed_N of --workdir "
  "(whose default then ends in _seeds)",
)
PROFILE = flags.DEFINE_string(
  "profile",
  None,
  "FIRST:LAST, trace the steps from FIRST to before LAST with jax.profiler, "
  "in the folder profile of --workdir",
)


def main(config, name):
  """Trains the experiment of `config`.

  Args:
    config: the complete config.
    name: of the folder in runs/, if there is no --workdir.
  """
  from dlcore import experiment, training

  profile = parse_profile()
  if SUMMARY.value:
    print(experiment.summary(config))
    return
  count = SEEDS.value
  if profile and count:
    raise UserError(
      "expected --profile with a single run",
      f"got --profile={PROFILE.value} with --seeds={count}",
      "remove one of them",
    )
  if WORKDIR.value is not None:
    workdir = command.required(WORKDIR)
  else:
    name = f"{name}_seeds" if count else name
    workdir = experiment.default_workdir(name, config)
    logging.getLogger("dlcore").info("--workdir=%s", workdir)
  phases = training.Phases(command.START_TIME)
  if count:
    results = experiment.train_seeds(config, count, workdir, phases=phases)
    print(experiment.seeds_table(results, workdir))
    return
  result = experiment.train(config, workdir, profile=profile, phases=phases)
  repeated = phases.steps == 0
  print(experiment.results_table(result, workdir, repeated=repeated))


def parse_profile() -> tuple[int, int] | None:
  """Returns the steps of --profile, None without the flag.

  Raises:
    UserError: it is not two step numbers in ascending order.
  """
  text = PROFILE.value
  if text is None:
    return None
  match = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text, re.ASCII)
  first, last = map(int, match.groups()) if match else (0, 0)
  if first >= last:
    raise UserError(
      "expected --profile=FIRST:LAST, two steps with FIRST < LAST",
      f"got --profile={text}",
      "--profile=100:110 traces ten steps",
    )
  return first, last


if __name__ == "__main__":
  command.run(main, config="configs/digits_cnn.py")

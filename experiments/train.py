"""Trains an experiment, or continues the run in --workdir.

train.py                                      the digits CNN
train.py --config=configs/mnist_cnn.py --workdir=runs/mnist
train.py --config.model.name=mlp --config.optim.learning_rate=3e-3
train.py --seeds=5                            mean and interval over five seeds
train.py --folds=5                            cross-validation: mean, interval,
                                              predictions for all examples
train.py --profile=100:110                    a jax.profiler trace of ten steps
"""

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
FOLDS = flags.DEFINE_integer(
  "folds",
  0,
  "train and test on that many folds, each in a folder fold_N of --workdir "
  "(whose default then ends in _folds), and write predictions.jsonl there",
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
  series = check_series()
  if WORKDIR.value is not None:
    workdir = command.required(WORKDIR)
  else:
    name = f"{name}_{series}" if series else name
    workdir = experiment.default_workdir(name, config)
  phases = training.Phases(command.START_TIME)
  if series:
    train = experiment.train_folds if FOLDS.value else experiment.train_seeds
    count = FOLDS.value or SEEDS.value
    results = train(config, count, workdir, phases=phases)
    print(experiment.seeds_table(results, workdir, series.removesuffix("s")))
    return
  result = experiment.train(config, workdir, profile=profile, phases=phases)
  repeated = phases.steps == 0
  print(experiment.results_table(result, workdir, repeated=repeated))
  if advice := experiment.advise_folds(config, workdir):
    print(advice)


def check_series() -> str:
  """Returns the flag for several runs, `"seeds"` or `"folds"`, else `""`.

  Raises:
    UserError: it is combined with another one, or with --profile.
  """
  given = [flag for flag in (PROFILE, SEEDS, FOLDS) if flag.value]
  if len(given) > 1:
    raise UserError(
      "expected one of --profile, --seeds and --folds",
      f"got {' with '.join(f'--{flag.name}={flag.value}' for flag in given)}",
      "remove one of them",
    )
  return "".join(flag.name for flag in given if flag is not PROFILE)


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

"""Trains an experiment, or continues the run in --workdir.

train.py                                      the digits CNN
train.py --config=configs/mnist_cnn.py --workdir=runs/mnist
train.py --config.model.name=mlp --config.optim.learning_rate=3e-3
train.py --fast_dev_run                       two steps of everything
train.py --overfit_one_batch                  does the loss of a batch reach 0?
train.py --seeds=5                            mean and interval over five seeds
train.py --folds=5                            cross-validation: mean, interval,
                                              predictions for all examples
train.py --profile=100:110                    a jax.profiler trace of ten steps
"""

import re
from pathlib import Path

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
FAST_DEV_RUN = flags.DEFINE_bool(
  "fast_dev_run",
  False,
  "make two steps, one evaluation of at most two batches of each split, a "
  "checkpoint and the report, to test that everything works (the default "
  "folder then ends in _dev)",
)
OVERFIT_ONE_BATCH = flags.DEFINE_bool(
  "overfit_one_batch",
  False,
  "train on one batch without regularization, to test whether its loss falls "
  "to about 0: 300 steps, or --config.training.steps (the default folder then "
  "ends in _overfit)",
)
MODES = (PROFILE, SEEDS, FOLDS, FAST_DEV_RUN, OVERFIT_ONE_BATCH)
"""Flags of which a command has at most one."""


def main(config, name):
  """Trains the experiment of `config`.

  Args:
    config: the complete config.
    name: of the folder in runs/, if there is no --workdir.
  """
  from dlcore import experiment, training

  profile = parse_profile()
  mode = parse_mode()
  check = experiment.QUICK_CHECKS.get(mode)
  if check:
    config = check.change(config)
  if SUMMARY.value:
    print(experiment.summary(config))
    return
  series = mode if mode in ("seeds", "folds") else ""
  workdir = choose_workdir(name, config, series, check)
  phases = training.Phases(command.START_TIME)
  if series:
    train = experiment.train_folds if FOLDS.value else experiment.train_seeds
    count = FOLDS.value or SEEDS.value
    results = train(config, count, workdir, phases=phases)
    print(experiment.seeds_table(results, workdir, series.removesuffix("s")))
    return
  if check:
    experiment.begin_again(workdir, check)
  result = experiment.train(config, workdir, profile=profile, phases=phases)
  if check:
    print(experiment.results_table({**result, "trivial": {}}, workdir))
    print(check.conclude(workdir))
    return
  repeated = phases.steps == 0
  print(experiment.results_table(result, workdir, repeated=repeated))
  if advice := experiment.advise_folds(config, workdir):
    print(advice)


def choose_workdir(name, config, series, check) -> Path:
  """Returns the folder of the run, or of several."""
  from dlcore import experiment

  if WORKDIR.value is not None:
    return Path(command.required(WORKDIR))
  if check:  # An earlier check in this folder is repeated.
    return Path("runs") / f"{name}_{check.suffix}"
  if series:  # Five folds are not continued by six, unlike seeds.
    name += f"_{FOLDS.value}_folds" if FOLDS.value else "_seeds"
  return experiment.default_workdir(name, config)


def parse_mode() -> str:
  """Returns the name of the flag of `MODES` that is set, or `""`.

  Raises:
    UserError: two of them are.
  """
  given = [flag for flag in MODES if flag.value]
  if len(given) > 1:
    names = [f"--{flag.name}" for flag in MODES]
    raise UserError(
      f"expected one of {', '.join(names[:-1])} and {names[-1]}",
      f"got {' with '.join(f'--{flag.name}={flag.value}' for flag in given)}",
      "remove one of them",
    )
  return "".join(flag.name for flag in given)


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

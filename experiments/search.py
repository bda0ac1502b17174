"""Searches hyperparameters, or continues the search in --workdir.

search.py --config=configs/digits_mlp.py --trials=64
search.py --config=configs/digits_mlp.py --algorithm=random --pruner=asha \\
    --space="optim.learning_rate=log(1e-4,1e-1) model.widths=(64,)|(128,64)"

The space is that of --space, of the function `space()` of the config file, or
one that suits the config. Distributions are uniform(LOW,HIGH), log(LOW,HIGH),
integer(LOW,HIGH), integer(LOW,HIGH,log) and choices A|B|C; with PATH[OTHER=A]=
a trial has the parameter only if OTHER is A. The first trial has the values of
the config itself. Trials that differ in numbers alone are trained in one
program. Several processes with the same --storage share the trials.

--workdir gets best.json, a config for train.py, trials.csv and search.html. At
the end the best config and the config itself are trained with --confirm_seeds
further seeds and compared on the test split.
"""

from pathlib import Path

from absl import flags

from dlcore import command

WORKDIR = flags.DEFINE_string(
  "workdir", None, "the folder (default: runs/ and the config, with _search)"
)
ALGORITHM = flags.DEFINE_string(
  "algorithm", "bayes", "grid, random, sobol, tpe, gp, or bayes, which is gp"
)
TRIALS = flags.DEFINE_integer("trials", 64, "number of trials, 0 for any")
PRUNER = flags.DEFINE_string(
  "pruner", "none", "ends bad trials early: none, asha, hyperband or median"
)
SEEDS = flags.DEFINE_integer("seeds", 1, "runs of each trial")
BUDGET = flags.DEFINE_float(
  "budget_minutes", 0.0, "time after which no trial begins, 0 for any"
)
METRIC = flags.DEFINE_string(
  "metric",
  "",
  "of the validation, such as valid/accuracy or -valid/loss, which is "
  "minimized (default: training.best_by of the config)",
)
SPACE = flags.DEFINE_string("space", "", "see above")
STORAGE = flags.DEFINE_string(
  "storage",
  "",
  "a journal file, or the URL of a database (default: a journal in --workdir)",
)
CONFIRM = flags.DEFINE_integer(
  "confirm_seeds", 5, "seeds of the comparison at the end, 0 for none"
)


def main(config, name):
  """Runs the trials and shows the results.

  Args:
    config: the complete config.
    name: of the folder in runs/, if there is no --workdir.
  """
  from dlcore import search

  workdir = Path("runs") / f"{name}_search"
  if WORKDIR.value is not None:
    workdir = Path(command.required(WORKDIR))
  settings = search.Settings(
    algorithm=ALGORITHM.value,
    trials=TRIALS.value,
    pruner=PRUNER.value,
    seeds=SEEDS.value,
    metric=METRIC.value,
    budget_minutes=BUDGET.value,
    storage=STORAGE.value,
  )
  space, source = search.choose_space(
    config, SPACE.value, command.config_file(), near=command.ROOT / "configs"
  )
  print(f"space of {source}:\n{search.describe_space(space)}\n")
  outcome = search.search_and_confirm(
    config, space, workdir, settings, confirm_seeds=CONFIRM.value
  )
  print(outcome)


if __name__ == "__main__":
  command.run(main, config="configs/digits_mlp.py")

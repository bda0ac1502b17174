"""Trains an experiment, or goes on with the run in --workdir.

train.py                                      the digits CNN
train.py --config=configs/mnist_cnn.py --workdir=runs/mnist
train.py --config.model.name=mlp --config.optim.learning_rate=3e-3
train.py --seeds=5                            how far five seeds spread
"""

from absl import flags

from dlcore import command

WORKDIR = flags.DEFINE_string(
  "workdir", None, "the run folder (default: runs/ and the config's name)"
)
SUMMARY = flags.DEFINE_bool(
  "summary", False, "print layers, parameters, FLOPs and schedule, and stop"
)
SEEDS = flags.DEFINE_integer(
  "seeds",
  0,
  "train with that many seeds, each in a folder seed_N of --workdir "
  "(whose default then ends in _seeds)",
)


def main(config, name):
  """Trains what `config` says in --workdir, or in a folder called `name`."""
  from dlcore import experiment, training

  if SUMMARY.value:
    print(experiment.summary(config))
    return
  count = SEEDS.value
  given = WORKDIR.value is not None
  usual = f"runs/{name}_seeds" if count else f"runs/{name}"
  workdir = command.required(WORKDIR) if given else usual
  phases = training.Phases(command.START_TIME)
  if count:
    results = experiment.train_seeds(config, count, workdir, phases=phases)
    print(experiment.seeds_table(results, workdir))
    return
  result = experiment.train(config, workdir, phases=phases)
  print(experiment.results_table(result, workdir))


if __name__ == "__main__":
  command.run(main, config="configs/digits_cnn.py")

"""Suggests a learning rate: it rises in a short training with several seeds.

lr_find.py --config=configs/digits_mlp.py
lr_find.py --config.optim.name=sgd --seeds=5 --steps=200 --min=1e-5 --max=100

The range test of Smith 2017 (arXiv:1506.01186) with the task, the data, the
augmentation, the optimizer and the clipping of the config. The last line is the
flag to use: a tenth of the rate with the smallest loss, a mean over the seeds.
"""

from pathlib import Path

from absl import flags

from dlcore import command

WORKDIR = flags.DEFINE_string(
  "workdir",
  None,
  "the folder of lr_find.html (default: runs/ and the names of config and "
  "overrides, with _lr_find at its end)",
)
SEEDS = flags.DEFINE_integer("seeds", 3, "number of seeds, in one program")
STEPS = flags.DEFINE_integer("steps", 100, "steps from --min to --max")
MIN = flags.DEFINE_float("min", 1e-7, "the first learning rate")
MAX = flags.DEFINE_float("max", 10.0, "the last learning rate")


def main(config, name):
  """Prints the suggestions, and writes the plot.

  Args:
    config: the complete config.
    name: of the folder in runs/, if there is no --workdir.
  """
  from dlcore import experiment

  workdir = Path("runs") / f"{name}_lr_find"
  if WORKDIR.value is not None:
    workdir = Path(command.required(WORKDIR))
  curves = experiment.find_rate(
    config, seeds=SEEDS.value, steps=STEPS.value, low=MIN.value, high=MAX.value
  )
  print(experiment.rates_table(curves))
  page = experiment.write_rate_page(curves, name, workdir)
  print(f"\nthe plot: {page}")
  found = curves.suggestion()
  if found is None:
    print("no suggestion: the loss falls at no rate from --min to --max")
  else:
    print(f"--config.optim.learning_rate={found.minimum:.2g}")


if __name__ == "__main__":
  command.run(main, config="configs/digits_cnn.py")

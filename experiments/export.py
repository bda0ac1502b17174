"""Exports the best (or given) checkpoint of a run, for others to load.

  export.py --workdir=runs/digits_cnn --format=safetensors --output=FOLDER
  export.py --workdir=runs/digits_cnn --format=stablehlo --output=FILE

The first writes weights in published names where there are such, with a
config.json; the second the prediction function for cpu, cuda and tpu.
"""

from absl import flags

from dlcore import command

WORKDIR = flags.DEFINE_string("workdir", None, "the run folder")
FORMAT = flags.DEFINE_string("format", None, "safetensors or stablehlo")
OUTPUT = flags.DEFINE_string("output", None, "the folder or file to write")
FAMILY = flags.DEFINE_string(
  "family", "", "in whose names (default: the first that has such models)"
)
STEP = flags.DEFINE_integer("step", None, "the checkpoint (default: the best)")


def main():
  """Writes --output and says what it is."""
  from dlcore import experiment

  command.no_arguments()
  print(
    experiment.export(
      command.required(WORKDIR),
      command.required(FORMAT),
      command.required(OUTPUT),
      family=FAMILY.value,
      step=STEP.value,
    )
  )


if __name__ == "__main__":
  command.run(main)

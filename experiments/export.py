"""Exports the best (or given) checkpoint of a run for other libraries.

  export.py --workdir=runs/digits_cnn --format=safetensors --output=FOLDER
  export.py --workdir=runs/digits_cnn --format=stablehlo --output=FILE
  export.py --workdir=runs/adapted --format=peft --output=FOLDER

The first writes weights with a config.json, in published names if the model
has any. The second writes the prediction function for cpu, cuda and tpu. The
third writes the adapters of a run with init.strategy=lora as a folder that
Hugging Face's PEFT loads.
"""

from absl import flags

from dlcore import command

WORKDIR = flags.DEFINE_string("workdir", None, "the run folder")
FORMAT = flags.DEFINE_string("format", None, "safetensors, stablehlo or peft")
OUTPUT = flags.DEFINE_string("output", None, "the folder or file to write")
FAMILY = flags.DEFINE_string(
  "family",
  "",
  "family of names (default: the first with such models), or "
  "sentence-transformers",
)
STEP = flags.DEFINE_integer("step", None, "the checkpoint (default: the best)")


def main():
  """Writes --output and prints a description of it."""
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

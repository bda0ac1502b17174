"""Computes features of images or texts by a run or a published model.

  features.py --workdir=runs/mnist folder/ --output=features
  features.py --source=FOLDER texts.csv --column=text --label=topic \\
    --output=features --query="late delivery" --duplicates=0.98

Writes features.npy, float32 [N, D], features.jsonl with a line for each row,
and report.html: a map, probes of the classes, near duplicates and nearest
neighbors. A class is the folder of a file, or a column of a table. The features
of an image are the input of the model's output layer. Those of a text are the
same in a run; in a published BERT they are its tokens, pooled as
sentence-transformers does.

An input that cannot be read, or whose features are not finite, is in
errors.jsonl, and the exit code is then 2.
"""

import json

from absl import flags

from dlcore import command
from dlcore.errors import UserError
from dlcore.filesystem import printable

WORKDIR = flags.DEFINE_string("workdir", "", "the folder of a run")
SOURCE = flags.DEFINE_string(
  "source", "", "a published folder or hf:ORG/NAME, in place of --workdir"
)
STEP = flags.DEFINE_integer("step", None, "the checkpoint (default: the best)")
OUTPUT = flags.DEFINE_string("output", None, "the folder to write")
COLUMN = flags.DEFINE_string(
  "column", "", "the column of texts, or of paths of images, in tables"
)
LABEL = flags.DEFINE_string("label", "", "the column of classes in tables")
QUERY = flags.DEFINE_multi_string(
  "query",
  [],
  "a text or an image whose nearest examples are printed; may be repeated",
)
NEIGHBORS = flags.DEFINE_integer("neighbors", 5, "examples of each query")
DUPLICATES = flags.DEFINE_float(
  "duplicates",
  None,
  "prints the first pairs of at least this cosine similarity, such as 0.98, "
  "and writes them to duplicates.jsonl",
)

PRINTED_PAIRS = 20


def main():
  """Writes the folder, and prints neighbors and pairs as JSON lines."""
  from dlcore import experiment

  output, paths = command.required(OUTPUT), command.arguments()
  if not paths:
    raise UserError(
      "expected images, texts, folders of them, or tables",
      "got none",
      "features.py --workdir=RUN PATH... --output=FOLDER",
    )
  extractor = experiment.load_extractor(
    WORKDIR.value, SOURCE.value, step=STEP.value
  )
  found = experiment.write_features(
    extractor,
    paths,
    output,
    column=COLUMN.value,
    label=LABEL.value,
    queries=QUERY.value,
    neighbors=NEIGHBORS.value,
    duplicates=DUPLICATES.value,
  )
  count, width = found.values.shape
  print(f"{count:,} rows of {width:,} features in {printable(output)}")
  for line in found.probe_lines():
    print(line)
  for line in found.neighbor_lines():
    print(json.dumps(line))
  if DUPLICATES.value is not None:
    for line in found.pair_lines()[:PRINTED_PAIRS]:
      print(json.dumps(line))
    print(found.pair_count())
  if found.errors:
    raise UserError(
      "expected inputs that can be read, with finite features",
      f"got {len(found.errors):,} that have none: {found.error_names()}",
      f"errors.jsonl in {output} has them all",
    )


if __name__ == "__main__":
  command.run(main)

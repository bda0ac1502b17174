"""Trains a tokenizer of subwords, for `data.tokenizer` of text configs.

  train_tokenizer.py --input=a.txt,b.txt --kind=bpe --vocab_size=8000 \\
    --output=tokenizer.json
  train_tokenizer.py --input=reviews.csv --column=text --output=tokenizer.json

Every line of a .txt file is a text; of a table, the cells of a column are. Pass
training data alone, since the validation and test splits decide nothing.
"""

import os
from pathlib import Path

from absl import flags

from dlcore import command
from dlcore.errors import UserError
from dlcore.filesystem import printable, write_atomic

INPUT = flags.DEFINE_list("input", None, "files: .txt, or tables with --column")
COLUMN = flags.DEFINE_string("column", "", "the column of texts in tables")
KIND = flags.DEFINE_string("kind", "bpe", "bpe, wordpiece or unigram")
VOCAB_SIZE = flags.DEFINE_integer(
  "vocab_size", 8000, "number of token ids, special ones included"
)
LOWERCASE = flags.DEFINE_bool("lowercase", False, "convert to lower case first")
OUTPUT = flags.DEFINE_string("output", None, "the tokenizer.json to write")


def main():
  """Trains a tokenizer and writes it to a file."""
  from dlcore.data.text import tokenizer_training

  command.no_arguments()
  paths = [Path(os.path.expanduser(name)) for name in command.required(INPUT)]
  output = Path(os.path.expanduser(command.required(OUTPUT)))
  if output.suffix != ".json":
    raise UserError("expected --output=FILE.json", f"got {str(output)!r}")
  if not output.parent.is_dir():
    raise UserError(
      "expected --output in a folder that exists",
      f"got {str(output)!r}",
      f"mkdir -p {output.parent}",
    )
  tokenizer = tokenizer_training.train_tokenizer(
    tokenizer_training.read_training_texts(paths, COLUMN.value),
    kind=KIND.value,
    vocab_size=VOCAB_SIZE.value,
    lowercase=LOWERCASE.value,
  )
  write_atomic(output, tokenizer.to_file())
  print(f"{tokenizer.vocab_size:,} token ids in {printable(output)}")


if __name__ == "__main__":
  command.run(main)

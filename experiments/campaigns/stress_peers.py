"""Predicts stress without a network, for comparison with configs/stress.py.

  stress_peers.py

Each model has the pronunciations of train and valid of `cmudict_stress`, and is
measured on those of test, by the metrics of the task:

- first_vowel: the first vowel has the primary stress, and the others none.
- by_vowel: the most frequent stress of each vowel.
- logistic_regression: of scikit-learn, on the phonemes at -4 to 4 from the
  vowel, the number of vowels, and how many are before and after it.

--output has their scores. --folder has NAME.npz for each model, with the label
and the prediction of every vowel of test, in the order of the arrays of the
same name in assets/predictions.npz of a run.
"""

import json
import time
from pathlib import Path

import numpy as np
import sklearn
from absl import flags
from stress_models import MODELS, vowels

from dlcore import command, data, metrics
from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
SET = "cmudict_stress"
METRICS = ("accuracy", "sequence_accuracy", "f1_macro")

FOLDER = flags.DEFINE_string(
  "folder", "runs/stress_peers", "folder of the predictions"
)
OUTPUT = flags.DEFINE_string(
  "output", "experiments/results/stress_peers.json", "the file of the results"
)


def main():
  """Fits all models and writes --output."""
  splits = data.load(SET)
  classes = splits.train.info.schema.classes
  known = (splits.train.arrays, splits.valid.arrays)
  train = vowels(
    *(
      np.concatenate([part[name] for part in known])
      for name in (TOKENS, LABELS)
    )
  )
  labels = splits.test.arrays[LABELS]
  test = vowels(splits.test.arrays[TOKENS], labels)
  results = {"train": len(train.stress), "test": len(test.stress)}
  for name, predict in MODELS.items():
    start = time.monotonic()
    predicted = predict(train, test, classes)
    results[name] = measure(name, predicted, labels, len(classes))
    results[name]["seconds"] = time.monotonic() - start
    print(name, results[name], flush=True)
  results |= {"scikit-learn": sklearn.__version__, **provenance(ROOT)}
  Path(OUTPUT.value).write_text(json.dumps(results, indent=1) + "\n")


def measure(
  name: str, predicted: np.ndarray, labels: np.ndarray, num_classes: int
) -> dict[str, float]:
  """Returns the scores on the test vowels, and writes the predictions."""
  is_vowel = labels != IGNORED
  folder = Path(FOLDER.value)
  folder.mkdir(parents=True, exist_ok=True)
  np.savez(folder / f"{name}.npz", label=labels[is_vowel], prediction=predicted)
  tags = np.full_like(labels, IGNORED)
  tags[is_vowel] = predicted
  selection = metrics.select(METRICS, metrics.TAGS)
  predictions = {"predicted": tags, "num_classes": num_classes}
  return selection.values(predictions, labels, np.ones(len(labels)))


if __name__ == "__main__":
  command.run(main)

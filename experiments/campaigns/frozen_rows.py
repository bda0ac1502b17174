"""The rows of a frozen set of texts that the examples of a split come from."""

import numpy as np

from dlcore import data


def join(*sources: data.Source) -> tuple[np.ndarray, np.ndarray]:
  """Returns the rows in the frozen file and the labels of all examples."""
  names = np.concatenate([source.names for source in sources])
  rows = [int(name.rpartition(":")[2]) for name in names]
  labels = np.concatenate([source.arrays["label"] for source in sources])
  return np.array(rows), labels

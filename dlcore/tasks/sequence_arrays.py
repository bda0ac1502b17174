"""Arrays of generated targets that the report shows, see `report_arrays`."""

import numpy as np

from dlcore import metrics, report_arrays
from dlcore.data import DataInfo
from dlcore.data.source import Arrays
from dlcore.metrics import Sequences
from dlcore.tasks.target_decoding import paired, reference_texts, to_text


def sequence_arrays(
  split: str,
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
  read: report_arrays.Read,
) -> Arrays:
  """Returns the errors of all generated targets, and the worst of them.

  Those are the ones with the most wrong tokens per token of the reference. Of
  several references, the one with the least errors counts.

  Args:
    split: of the examples.
    rows: `predicted`, int `[N, T]`.
    targets: `labels` `[N, T]`, and perhaps `source_id` `[N]`.
    info: of the split, with a schema of pairs.
    read: returns the sources of some rows.
  """
  tokenizer = info.schema.output_tokenizer
  predicted, references, groups = paired(rows, targets, tokenizer)
  best, errors = metrics.least_errors(predicted, references, groups)
  shares = errors / np.maximum(references.lengths[best], 1)
  wrong = np.flatnonzero(errors)
  wrong = wrong[np.argsort(-shares[wrong], kind="stable")]
  distance = np.zeros(len(groups), np.int32)
  distance[best] = errors
  worst = report_arrays.worst_examples(
    {"distance": distance}, best[wrong], read
  )
  if worst:
    chosen = worst["worst_index"]
    some = {name: array[chosen] for name, array in targets.items()}
    ids = Sequences(*(part[chosen] for part in predicted)).rows()
    worst["worst_label"] = np.array(reference_texts(some, tokenizer), str)
    worst["worst_prediction"] = np.array(
      [to_text(row, tokenizer) for row in ids], str
    )
  return {
    "split": np.asarray(split),
    f"{report_arrays.HISTOGRAM}wrong tokens of a target": errors,
    **worst,
  }

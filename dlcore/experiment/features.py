"""Embeddings of one's own images or texts: arrays, probes and a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlcore.errors import UserError
from dlcore.experiment.feature_analysis import Analysis, analyze
from dlcore.experiment.feature_display import make_page
from dlcore.experiment.feature_extraction import (
  FeatureExtractor,
  feature_run,
  published_run,
)
from dlcore.experiment.feature_folder import PAGE, check_output, write_arrays
from dlcore.experiment.feature_inputs import Example, read_examples
from dlcore.experiment.restoring import restore_run
from dlcore.report.feature_page import write_feature_page
from dlcore.status_line import status


def load_extractor(
  workdir: str | Path = "",
  source: str | Path = "",
  *,
  step: int | None = None,
) -> FeatureExtractor:
  """Loads the model whose features are computed.

  Args:
    workdir: the folder of a run; nothing else is needed.
    source: in place of it a published folder, see `transfer.load_encoder`.
    step: the checkpoint of the run; None for the best.

  Raises:
    UserError: not exactly one of both is given, it cannot be read, or its model
      has no single vector of features for each example.
  """
  if bool(workdir) == bool(source):
    raise UserError(
      "expected either workdir=RUN or source=FOLDER",
      f"got {'both' if workdir else 'neither'}",
      "a run is a folder of train.py, a source a published folder",
    )
  if source and step is not None:
    raise UserError("expected step with workdir only", f"got {step=}")
  if source:
    return FeatureExtractor(published_run(source))
  return FeatureExtractor(feature_run(restore_run(workdir, step)))


def write_features(
  extractor: FeatureExtractor,
  paths: Sequence[str],
  output: str | Path,
  *,
  column: str = "",
  label: str = "",
  queries: Sequence[str] = (),
  neighbors: int = 5,
  duplicates: float | None = None,
) -> Analysis:
  """Writes features.npy, features.jsonl and report.html of one's own data.

  Args:
    extractor: see `load_extractor`.
    paths: images, texts (.txt, .md), folders of them, or tables.
    output: a new folder, or one of an earlier call.
    column: of the texts in tables, by default that of the run's training data
      or "text"; or of the paths of images.
    label: the column of the labels in tables; that of a file is its folder.
    queries: texts, or image files, whose nearest examples are returned.
    neighbors: the number of nearest examples of a query.
    duplicates: least cosine similarity of the pairs in duplicates.jsonl, at
      most 10,000; None writes no such file.

  Returns:
    The features and their measures. Examples that cannot be read are in
    `errors`, and in errors.jsonl.

  Raises:
    UserError: an input does not exist, no example can be read, a setting is out
      of range, or the output folder holds other files.
  """
  output = Path(output)
  _check_settings(extractor, neighbors, duplicates)
  check_output(output)
  query_values = _query_features(extractor, queries)
  examples, values, errors = _extract(extractor, paths, column, label)
  analysis = analyze(
    examples,
    values,
    errors,
    queries=list(zip(queries, query_values, strict=True)),
    neighbors=neighbors,
    duplicates=duplicates,
  )
  with status("writing the page"):
    write_arrays(output, analysis, duplicates is not None)
    write_feature_page(output / PAGE, make_page(extractor, analysis))
  return analysis


def _check_settings(
  extractor: FeatureExtractor, neighbors: int, duplicates: float | None
) -> None:
  """Checks arguments of `write_features`.

  Raises:
    UserError: one is out of range, or the model takes other data.
  """
  if not (extractor.reads_texts or extractor.reads_images):
    raise UserError(
      "expected a model of images or of texts",
      f"got {extractor.path}, which takes {extractor.info.schema.input!r}",
      "compute its features by dlcore.load(workdir).features(inputs)",
    )
  if neighbors < 1:
    raise UserError("expected neighbors of at least 1", f"got {neighbors}")
  if duplicates is not None and not -1 <= duplicates <= 1:
    raise UserError(
      "expected duplicates to be a cosine similarity, -1 to 1",
      f"got {duplicates}",
    )


def _query_features(
  extractor: FeatureExtractor, queries: Sequence[str]
) -> np.ndarray:
  """Returns the features `[Q, D]` of queries, before those of all examples.

  Raises:
    UserError: a query cannot be read.
  """
  if not queries:
    return np.zeros((0, 0), np.float32)
  if extractor.reads_texts:
    found = extractor.text_features(queries)
  else:
    found = extractor.file_features([Path(query) for query in queries])
  if found.errors:
    _, reason = found.errors[0]
    bad = min(set(range(len(queries))) - set(found.rows.tolist()))
    noun = "a text" if extractor.reads_texts else "the path of an image"
    raise UserError(
      f"expected {noun} as the query of this model",
      f"got {queries[bad]!r:.200}: {reason}",
      "" if extractor.reads_texts else "check the path",
    )
  return found.values


def _extract(
  extractor: FeatureExtractor, paths: Sequence[str], column: str, label: str
) -> tuple[list[Example], np.ndarray, list[tuple[str, str]]]:
  """Returns examples, their features, and the errors of other examples."""
  listed = read_examples(
    paths,
    texts=extractor.reads_texts,
    column=column,
    columns=extractor.text_columns,
    label=label,
  )
  contents = [example.content for example in listed.items]
  with status(f"computing the features of {len(contents):,} examples"):
    if extractor.reads_texts:
      found = extractor.text_features(contents)
    else:
      found = extractor.file_features([Path(path) for path in contents])
  kept = set(found.rows.tolist())
  bad = [e.name for i, e in enumerate(listed.items) if i not in kept]
  reasons = [reason for _, reason in found.errors]
  errors = [*listed.errors, *zip(bad, reasons, strict=True)]
  if not kept:
    shown = "; ".join(f"{name}: {reason}" for name, reason in errors[:3])
    noun = "texts" if extractor.reads_texts else "images"
    raise UserError(
      f"expected {noun} with finite features",
      f"got {len(errors):,} without: {shown}"[:400],
      "check these files, and the weights of the model",
    )
  return [listed.items[i] for i in found.rows.tolist()], found.values, errors

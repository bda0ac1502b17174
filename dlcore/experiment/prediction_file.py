"""Predictions in a file, CSV or JSON lines, a batch at a time."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dlcore import storage
from dlcore.data import DataInfo
from dlcore.errors import UserError
from dlcore.experiment.prediction import (
  Predict,
  compile_prediction,
  predict_batches,
)
from dlcore.experiment.prediction_inputs import list_files, locate
from dlcore.experiment.restoring import restore_run
from dlcore.filesystem.atomic import check_no_folder

Rows = Iterator[Mapping[str, Any]]
"""The predictions, see `prediction.predict`."""


class Written(NamedTuple):
  """The content of a file of predictions."""

  examples: int
  errors: int
  """Number of examples without a prediction."""


def write_predictions(
  workdir: str | Path,
  paths: Sequence[str],
  output: str | Path,
  step: int | None = None,
) -> Written:
  """Writes a prediction for every example in the files to a file.

  A CSV file has the columns `path`, `row`, those of the task, such as `label`,
  `probability` and `probabilities.CLASS`, and `error`. A JSONL file has the
  lines of `predict`. The file appears when it is complete.

  Args:
    workdir: the run folder; nothing else is needed.
    paths: files, or folders that count for the files in them, but for
      `output`.
    output: `FILE.csv` or `FILE.jsonl`, which may exist.
    step: the checkpoint; None for the best.

  Raises:
    UserError: see `predict`; the output cannot be written, or is an input.
  """
  output = Path(output)
  _check_output(output, paths)
  files = [file for file in list_files(paths) if not _is_same(file, output)]
  run = restore_run(workdir, step)
  predict, size = compile_prediction(run)
  batches = run.info.schema.read(files, run.info, size)
  rows = predict_batches(predict, batches, files)
  counts = {"examples": 0, "errors": 0}

  def counted() -> Rows:
    for row in rows:
      counts["examples"] += 1
      counts["errors"] += "error" in row
      yield row

  def write(file: IO[bytes]) -> None:
    # Paths need not be UTF-8.
    text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
    try:
      if output.suffix == ".csv":
        template = _template(predict, run.info)
        _write_csv(text, counted(), template, frozenset(map(str, files)))
      else:
        text.writelines(json.dumps(row) + "\n" for row in counted())
    finally:
      text.detach()  # Flushes it; `write_atomic` closes the file.

  storage.write_atomic(output, write)
  return Written(**counts)


def _check_output(output: Path, paths: Sequence[str]) -> None:
  if output.suffix not in (".csv", ".jsonl"):
    raise UserError(
      "expected output to be FILE.csv or FILE.jsonl", f"got {str(output)!r}"
    )
  for path in paths:
    if _is_same(Path(path), output):
      raise UserError(
        f"expected an output other than the input {path}",
        f"got {output}, which would be replaced",
        "choose another file",
      )
  check_no_folder(output)
  try:
    with tempfile.TemporaryFile(dir=output.parent):
      pass
  except OSError as error:
    raise UserError(
      f"expected to write predictions to {output}",
      f"got: {error.strerror or error}",
      "choose a file in an existing folder that you can write",
    ) from error


def _is_same(file: Path, output: Path) -> bool:
  # Resolving the paths of 100,000 files would take seconds.
  return file.name == output.name and (
    os.path.realpath(file) == os.path.realpath(output)
  )


def _template(predict: Predict, info: DataInfo) -> Mapping[str, Any]:
  """Returns the fields of a prediction, of an example of zeros."""
  zeros = {
    name: np.zeros((1, *shape), dtype)
    for name, (shape, dtype) in info.inputs.items()
  }
  return predict(zeros)[0]


def _write_csv(
  file: IO[str], rows: Rows, template: Mapping[str, Any], files: frozenset[str]
) -> None:
  """Writes the rows below a line of column names.

  Raises:
    UserError: a prediction has other fields than `template`.
  """
  columns = ["path", "row", *flatten_fields(template), "error"]
  writer = csv.DictWriter(file, columns, lineterminator="\n")
  writer.writeheader()
  for row in rows:
    location = locate(row["input"], files)
    fields = {name: row[name] for name in row if name != "input"}
    cells = {**location._asdict(), **flatten_fields(fields)}
    if unknown := cells.keys() - set(columns):
      raise UserError(
        "expected predictions with the same fields for a CSV file: "
        f"{', '.join(columns)}"[:400],
        f"got {', '.join(sorted(unknown))}"[:400],
        "set output=FILE.jsonl",
      )
    writer.writerow(cells)


def flatten_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields of a prediction as cells.

  An object becomes a column for each of its fields, `probabilities.cat`, a list
  of strings `a;b`, and another list its JSON text.
  """
  cells: dict[str, Any] = {}
  for name, value in fields.items():
    if isinstance(value, Mapping):
      inner = flatten_fields(value)
      cells |= {f"{name}.{key}": cell for key, cell in inner.items()}
    else:
      cells[name] = _to_cell(value)
  return cells


def _to_cell(value: Any) -> Any:
  if isinstance(value, list | tuple):
    is_text = all(isinstance(item, str) for item in value)
    return ";".join(value) if is_text else json.dumps(value)
  return value

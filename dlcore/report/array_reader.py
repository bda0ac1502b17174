"""Reads and checks the arrays that a run kept, from files of any origin."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from dlcore.filesystem import open_zip
from dlcore.report.text_arrays import (
  ATTENTION,
  CONFUSED,
  MAX_CLASSES,
  METHOD,
  OF_TOKENS,
  SAMPLES,
  check_attention,
  check_confused,
  check_samples,
  check_tokens,
)
from dlcore.report_arrays import (
  BY_CLASS,
  BY_POSITION,
  DATA_COUNTS,
  DATA_LENGTHS,
  DATA_TARGETS,
  HISTOGRAM,
)

MAX_BYTES = 2**28
MAX_MEMBERS = 1024
MAX_PICTURES = 4096
MAX_VALUE = 1e30

ROWS = ("index", "label", "target", "prediction", "probability", "distance")
"""Arrays `[N]` of predictions. With the prefix `worst_` they describe a few
examples, whose inputs are `worst_input`."""

NAMED = (BY_CLASS, BY_POSITION, HISTOGRAM)
"""Prefixes of arrays `[C]`, `[T]` and `[N]` of numbers; the first two may be
NaN."""

MAX_NAMED = 64

WORST = "worst_"
INPUT = "worst_input"
SPLIT = "split"

DATA = "data/"
"""Prefix of arrays `[M]` of examples of the data, see `DATA_ROWS`."""

DATA_ROWS = {"input": "", "name": "U", "label": "iuU", "target": "f"}
"""Kinds of dtypes by name; those of inputs follow from their axes."""

PICTURES = {"image": 3, "filters": 4, "maps/": 3}
"""Axes of the uint8 arrays by name or prefix."""


def read_predictions(path: Path, remarks: list[str]) -> dict[str, np.ndarray]:
  """Returns the arrays of predictions.

  Args:
    path: of an NPZ file.
    remarks: gets one if arrays are unknown, and for the rows `[N]`, the worst
      examples or a named array if they are malformed, which are omitted then.

  Raises:
    ValueError: the file is too large or is not an NPZ file of numbers.
  """
  arrays = _read(path)
  named = {
    name: arrays.pop(name) for name in [*arrays] if name.startswith(NAMED)
  }
  known = {SPLIT, INPUT, *ROWS, *(WORST + name for name in ROWS)}
  known |= {METHOD, *OF_TOKENS, *CONFUSED, *SAMPLES, *ATTENTION}
  unknown = sorted(arrays.keys() - known)
  if unknown:
    names = ", ".join(unknown)[:200]
    remarks.append(f"predictions.npz: unknown arrays are omitted: {names}")
  arrays = {name: arrays[name] for name in arrays if name in known}
  worst = {name: arrays.pop(name) for name in [*arrays] if WORST in name}
  tokens = {name: worst.pop(name) for name in [*worst] if name in OF_TOKENS}
  rows = {name: arrays.pop(name) for name in [*arrays] if name in ROWS}
  confused = {k: arrays.pop(k) for k in [*arrays] if k in CONFUSED}
  samples = {k: arrays.pop(k) for k in [*arrays] if k in SAMPLES}
  attention = {k: arrays.pop(k) for k in [*arrays] if k in ATTENTION}
  for title, group, check in (
    ("predictions", rows, _check_rows),
    ("worst examples", worst, _check_worst),
    ("tokens of the worst examples", tokens, partial(check_tokens, worst)),
    ("confused examples", confused, check_confused),
    ("samples", samples, check_samples),
    ("attention maps", attention, check_attention),
  ):
    try:
      check(group)
    except ValueError as error:
      remarks.append(f"the {title} are omitted: {error}")
      group.clear()
  named = _checked_named(named, remarks)
  named |= {**worst, **tokens, **confused, **samples, **attention}
  return {**arrays, **rows, **named}


def read_features(path: Path, remarks: list[str]) -> dict[str, np.ndarray]:
  """Returns the pictures of filters and feature maps.

  Args:
    path: of an NPZ file.
    remarks: gets one if arrays are unknown.

  Raises:
    ValueError: an array is empty, too large or not uint8.
  """
  pictures, unknown = {}, []
  for name, array in _read(path).items():
    axes = PICTURES.get("maps/" if name.startswith("maps/") else name)
    if axes is None:
      unknown.append(name)
      continue
    good = array.dtype == np.uint8 and array.ndim == axes
    if not good or array.size == 0 or len(array) > MAX_PICTURES:
      raise ValueError(f"{name} is {array.dtype} {array.shape}")
    pictures[name] = array
  if unknown:
    names = ", ".join(unknown)[:200]
    remarks.append(f"features.npz: unknown arrays are omitted: {names}")
  return pictures


def read_data(path: Path, remarks: list[str]) -> dict[str, np.ndarray]:
  """Returns class counts, targets and examples of the data.

  Args:
    path: of an NPZ file.
    remarks: gets one if arrays are unknown or malformed, which are omitted.

  Raises:
    ValueError: the file is too large or is not an NPZ file of numbers.
  """
  arrays, bad = _read(path), []
  rows = {
    name: arrays.pop(DATA + name) for name in DATA_ROWS if DATA + name in arrays
  }
  good = {}
  for name, array in list(arrays.items())[:MAX_NAMED]:
    kind = "iu" if name.startswith((DATA_COUNTS, DATA_LENGTHS)) else "f"
    known = name.startswith((DATA_COUNTS, DATA_LENGTHS, DATA_TARGETS))
    if known and array.ndim == 1 and array.size and array.dtype.kind in kind:
      bounded = array if kind == "iu" else np.abs(array)
      if (bounded < MAX_VALUE).all() and (kind == "f" or array.min() >= 0):
        good[name] = array
        continue
    bad.append(name)
  if bad:
    remarks.append(f"data_examples.npz: omitted: {', '.join(bad)[:200]}")
  try:
    _check_data_rows(rows)
  except ValueError as error:
    remarks.append(f"the examples of the data are omitted: {error}")
    rows = {}
  return good | {DATA + name: array for name, array in rows.items()}


def _check_data_rows(rows: Mapping[str, np.ndarray]) -> None:
  for name, array in rows.items():
    if name == "input":
      _check_inputs(array, {len(row) for row in rows.values()}, DATA + name)
    elif array.ndim != 1 or array.dtype.kind not in DATA_ROWS[name]:
      raise ValueError(f"{name} is {array.dtype} {array.shape}")
    elif array.dtype.kind in "iuf" and not (np.abs(array) < MAX_VALUE).all():
      raise ValueError(f"{name} is not finite")
    elif name == "label" and array.dtype.kind in "iu" and array.min() < 0:
      raise ValueError(f"{name} is negative")


def _read(path: Path) -> dict[str, np.ndarray]:
  if path.stat().st_size > MAX_BYTES:
    raise ValueError(f"the file is larger than {MAX_BYTES:,} bytes")
  with (
    path.open("rb") as file,
    open_zip(file, max_members=MAX_MEMBERS) as archive,
  ):
    if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
      raise ValueError("the arrays are too large")
  with np.load(path, allow_pickle=False) as archive:
    return {name: archive[name] for name in archive.files}


def _check_worst(worst: Mapping[str, np.ndarray]) -> None:
  """Checks the inputs, labels and predictions of the worst examples."""
  rows = {k.removeprefix(WORST): v for k, v in worst.items() if k != INPUT}
  _check_rows(rows, strings=True)
  if INPUT in worst:
    lengths = {len(array) for array in worst.values()}
    _check_inputs(worst[INPUT], lengths, INPUT)


def _check_rows(
  arrays: Mapping[str, np.ndarray], *, strings: bool = False
) -> None:
  """Checks lengths, dtypes and ranges of arrays of `ROWS`.

  Args:
    arrays: by name.
    strings: whether labels and predictions may be strings.

  Raises:
    ValueError: an array is not as expected.
  """
  shapes = {array.shape for array in arrays.values()}
  for name, array in arrays.items():
    if array.ndim != 1 or array.size == 0 or len(shapes) > 1:
      raise ValueError(f"{name} has shape {array.shape}")
    if array.dtype.kind == "U" and strings:
      continue
    is_class = name == "label" or (name == "prediction" and "label" in arrays)
    is_integer = is_class or name in ("index", "distance")
    if array.dtype.kind not in ("iu" if is_integer else "f"):
      raise ValueError(f"{name} has dtype {array.dtype}")
    if is_class and not 0 <= array.min() <= array.max() < MAX_CLASSES:
      raise ValueError(f"{name} is not from 0 to {MAX_CLASSES:,}")
    if array.dtype.kind == "f" and not (np.abs(array) < MAX_VALUE).all():
      raise ValueError(f"{name} is not finite")


def _checked_named(
  arrays: Mapping[str, np.ndarray], remarks: list[str]
) -> dict[str, np.ndarray]:
  """Returns the arrays of `NAMED` that are well-formed, the first 64."""
  good = {}
  if len(arrays) > MAX_NAMED:
    remarks.append(
      f"the arrays after the first {MAX_NAMED} of {len(arrays):,} are omitted"
    )
  for name, array in list(arrays.items())[:MAX_NAMED]:
    fits = array.ndim == 1 and array.size > 0 and array.dtype.kind in "iuf"
    if fits:
      bounded = np.abs(array.astype(float)) < MAX_VALUE
      if name.startswith((BY_CLASS, BY_POSITION)):
        bounded |= np.isnan(array)
      fits = bool(bounded.all())
    if fits:
      good[name] = array
    else:
      remarks.append(
        f"{name[:100]} is omitted: {array.dtype} {array.shape}, expected "
        "finite numbers [N]"
      )
  return good


def _check_inputs(inputs: np.ndarray, lengths: set[int], name: str) -> None:
  kinds = {1: "U", 2: "iuf", 4: "u"}.get(inputs.ndim, "")
  if inputs.dtype.kind not in kinds or 0 in inputs.shape or len(lengths) > 1:
    raise ValueError(f"{name} is {inputs.dtype} {inputs.shape}")

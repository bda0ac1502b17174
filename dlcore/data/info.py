"""Metadata of a data set: shapes, classes, statistics, and how to read more."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from dlcore.data import json_fields

Inputs = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape of one example and dtype, by the name of the array."""

Normalization = Mapping[str, Any]
"""`{"mean": ..., "std": ...}`."""

TOKENS = "input_ids"
"""Name of the array of token ids, int `[B, T]`."""

LABELS = "labels"
"""Name of the array of a class or a next token for each token, int `[B, T]`."""

IGNORED = -100
"""Value of `LABELS` for tokens that are not scored."""

SOURCE_ID = "source_id"
"""Name of the array int `[N]` of pairs with several references: rows of one
source have the same value, and their targets are its references."""

IS_EXACT = "is_exact"
"""Name of the array uint8 `[N]` of pairs, 0 where the tokens of the target are
another text than the target."""

REFERENCE = "reference"
"""Name of the array uint8 `[N, L]` of valid and test: the text of the target in
UTF-8, with zeros behind it, if its tokens may be another text."""

SECOND_TOKENS, SECOND_MASK = "second_input_ids", "second_attention_mask"
"""Names of the arrays of the second texts of pairs that are encoded apart."""

TEXT_IDS = "text_ids"
"""Name of the array int `[N, 2]` of such pairs: equal texts have equal ids."""

SCORE = "score"
"""Name of the array float `[N]` of such pairs: their similarity, -1 to 1."""

TOKEN_INPUTS = (
  TOKENS,
  "attention_mask",
  "token_type_ids",
  "segment_ids",
  "positions",
  "decoder_input_ids",
)
"""Arrays that a model of token ids reads, if the source has them."""

TRANSFORMS = ("none", "log")
"""Values of `Schema.target_transform`."""

MAX_BATCH_BYTES = 1 << 28
"""Memory of a batch that is read for prediction."""


class DataInfo(NamedTuple):
  """Metadata of a source."""

  name: str
  """Name of the data set."""

  size: int
  """Number of examples, N."""

  sha256: str
  """Checksum of the names, dtypes, shapes and bytes of the arrays. For a
  streamed image folder it covers the names and bytes of the files, for a
  streamed TFDS set the names of the examples alone, so there it does not detect
  other content of the same size."""

  inputs: Inputs
  """Arrays that the model reads: `{"image": ((28, 28, 1), "uint8")}`."""

  notes: tuple[str, ...]
  """Sentences for the user, such as the number of skipped examples."""

  schema: "Schema"
  """Description of the arrays, of the class of the kind of data."""

  targets: Inputs = {}  # noqa: RUF012  not modified
  """The other arrays, as `inputs`: `{"label": ((), "int32")}`. Empty if they
  are unknown, as in run folders of earlier versions."""

  class_counts: tuple[int, ...] = ()
  """Number of examples of each class of the schema, with each of several
  labels, or of scored tokens with each tag. Empty if they are unknown: without
  classes, in streams, and in run folders of earlier versions."""

  def max_rows(self, limit: int) -> int:
    """Returns the largest batch size up to `limit` that fits in 256 MiB."""
    return max(1, min(limit, MAX_BATCH_BYTES // max(1, example_bytes(self))))


class ReadBatch(NamedTuple):
  """A batch of new examples, read for prediction."""

  names: list[str]
  """One name per example, such as `"table.csv:2"`."""

  arrays: dict[str, np.ndarray] | None
  """Inputs of the model `[len(names), ...]` by name; None without examples."""

  errors: list[tuple[str, str]]
  """`(name, reason)` of the examples that cannot be read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
  """Names, classes and statistics of the arrays of a source.

  A kind of data, such as images, is a subclass. (A kind of task, see
  `tasks.TaskKind`, is independent of it.)
  """

  kind: ClassVar[str] = ""
  """The kind of data, the key of the class in `data.SCHEMAS`."""

  consecutive: ClassVar[bool] = False
  """Whether each example continues the one before, as pieces of a text do."""

  translates: ClassVar[bool] = False
  """Whether the target is a sequence of its own, as a translation is. Such a
  schema has `output_tokenizer` and `target_vocab_size`."""

  parsers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
    "input": json_fields.text,
    "target": json_fields.text,
    "classes": json_fields.names,
    "multilabel": json_fields.flag,
    "normalization": json_fields.statistics,
    "target_normalization": json_fields.target_statistics,
    "target_offset": json_fields.number,
    "target_transform": json_fields.text,
    "transformed_normalization": json_fields.target_statistics,
    "sequences": json_fields.names,
    "vocab_size": json_fields.count,
  }
  """Function that checks and converts the JSON value of each field."""

  input: str = ""
  """Name of the main input array, `""` if it is unknown."""

  target: str = ""
  """Name of the array to predict, such as `"label"` or `"target"`; `""` without
  one."""

  classes: tuple[str, ...] = ()
  """Class names in the order of the labels; empty without classes."""

  multilabel: bool = False
  """Whether an example has any number of the classes: the target is `[N, C]`,
  1 for each class that it has and 0 for the others."""

  normalization: Normalization | None = None
  """Lists of the mean and standard deviation over the training split, per
  channel of an image (on the scale 0 to 1) or per column of a table."""

  target_normalization: Normalization | None = None
  """Mean and standard deviation of the target of a regression: two floats, or
  two lists for a target `[N, K]`, per column."""

  target_offset: float | None = None
  """Number that was subtracted from the target in float64, before it was
  rounded to float32: to be added to predictions. None without one."""

  target_transform: str = "none"
  """`"log"` if a regression learns the logarithm of its target. The array is in
  the target's own units."""

  transformed_normalization: Normalization | None = None
  """Mean and standard deviation of the transformed target; two floats."""

  sequences: tuple[str, ...] = ()
  """Arrays `[N, T, ...]` whose axis 1 is cut to the length of a batch."""

  vocab_size: int | None = None
  """Number of token ids, V; by default one more than the largest id of all
  splits. None without token ids."""

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads new files in the form in which the training data was read.

    Args:
      paths: the files.
      info: metadata of the training data; its schema is `self`.
      rows: largest number of examples in a batch.

    Yields:
      Batches of 0 to `rows` examples in the order of the files. Files and
      rows that cannot be read are listed in `errors`.
    """
    raise NotImplementedError

  def read_inputs(self, inputs: Inputs) -> Inputs:
    """Returns the arrays that `read` returns, by default those of the model.

    Args:
      inputs: of the model, see `DataInfo.inputs`.
    """
    return inputs

  def position(self, name: str, index: Sequence[int]) -> str:
    """Returns the position inside of one example of `name`, for a message."""
    del name
    return f", position {', '.join(map(str, index))}" if index else ""

  def display(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the main inputs of a batch for the report.

    They are images `[M, Y, X, C]`, strings `[M]` or numbers `[M, ...]`.
    """
    return np.asarray(batch[self.input])

  def token_ends(self, batch: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """Returns where the tokens end in the strings of `display`.

    They are int32 `[M, T]`, or None if the examples are not texts.
    """
    del batch
    return None

  def validate(self, inputs: Inputs) -> None:
    """Checks the fields against each other and the shapes of the inputs.

    Raises:
      ValueError: they contradict; the message names the field.
    """
    json_fields.check_inputs(inputs)
    if self.input and self.input not in inputs:
      raise ValueError(f"input={self.input!r}, not among {sorted(inputs)}")
    if self.normalization is not None and self.input:
      shape, _ = inputs[self.input]
      json_fields.check_statistics(
        self.normalization, shape[-1] if shape else 1
      )
    transforms = TRANSFORMS if self.transformed_normalization else ("none",)
    if self.target_transform not in transforms:
      raise ValueError(f"target_transform={self.target_transform!r}")

  def to_json(self) -> dict[str, Any]:
    """Returns the fields that are not None as JSON data, and the kind."""
    fields = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
    }
    return {
      "kind": self.kind,
      **{
        name: list(value) if isinstance(value, tuple) else value
        for name, value in fields.items()
        if value is not None
      },
    }

  @classmethod
  def from_json(cls, content: Mapping[str, Any], inputs: Inputs) -> Self:
    """Returns the schema that `to_json` wrote, from a file of any origin.

    Args:
      content: the JSON data.
      inputs: of the `DataInfo`, already checked.

    Raises:
      ValueError: a field is unknown, malformed or contradicts `inputs`; the
        message is the field and its value.
    """
    fields = {name: value for name, value in content.items() if name != "kind"}
    values = {
      name: json_fields.parse(name, cls.parsers.get(name), value)
      for name, value in fields.items()
    }
    schema = cls(**values)
    schema.validate(inputs)
    return schema


def example_bytes(info: DataInfo) -> int:
  """Returns the memory of the inputs of one example."""
  return sum(
    math.prod(shape) * np.dtype(dtype).itemsize
    for shape, dtype in info.inputs.values()
  )


def describe_inputs(
  arrays: Mapping[str, np.ndarray], name: str
) -> dict[str, tuple[tuple[int, ...], str]]:
  """Returns shape and dtype of each array that the model reads.

  Args:
    arrays: `[N, ...]` by name.
    name: of the main input. `input_ids` is joined by the others of
      `TOKEN_INPUTS`.
  """
  names = TOKEN_INPUTS if name == TOKENS else (name,)
  return _describe({key: arrays[key] for key in names if key in arrays})


def describe_targets(
  arrays: Mapping[str, np.ndarray], inputs: Inputs
) -> dict[str, tuple[tuple[int, ...], str]]:
  """Returns shape and dtype of each array of numbers that is not an input."""
  others = {name: arrays[name] for name in arrays if name not in inputs}
  return {
    name: spec
    for name, spec in _describe(others).items()
    if spec[1] in json_fields.DTYPES and 0 not in spec[0]
  }


def _describe(
  arrays: Mapping[str, np.ndarray],
) -> dict[str, tuple[tuple[int, ...], str]]:
  return {
    name: (tuple(array.shape[1:]), str(array.dtype))
    for name, array in arrays.items()
  }

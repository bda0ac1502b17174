"""`DataInfo` as JSON data, the content of `assets/data.json` of a run."""

from collections.abc import Mapping
from typing import Any

from dlcore.data import json_fields
from dlcore.data.array_schema import ArraySchema
from dlcore.data.images.image_schema import ImageSchema
from dlcore.data.info import DataInfo, Inputs, Schema
from dlcore.data.tables.table_schema import TableSchema
from dlcore.data.text.chat_schema import ChatSchema
from dlcore.data.text.corpus_schema import CorpusSchema
from dlcore.data.text.pair_schema import PairSchema
from dlcore.data.text.similar_schema import SimilarSchema
from dlcore.data.text.tagged_schema import TaggedSchema
from dlcore.data.text.text_schema import TextSchema

SCHEMAS: dict[str, type[Schema]] = {
  "arrays": ArraySchema,
  "chat": ChatSchema,
  "corpus": CorpusSchema,
  "images": ImageSchema,
  "similar_texts": SimilarSchema,
  "tables": TableSchema,
  "tagged_text": TaggedSchema,
  "text": TextSchema,
  "text_pairs": PairSchema,
}
"""Schema class of each kind of data."""

V0_1_AXES = {"image": 3, "features": 1}
"""Inputs of version 0.1 and the axes of one example."""

V0_1_FIELDS = (
  "input",
  "target",
  "classes",
  "normalization",
  "target_normalization",
  "columns",
  "encoding",
)
"""Keys of version 0.1 that are fields of a schema now."""


def info_to_json(info: DataInfo) -> dict[str, Any]:
  """Returns `info` as JSON data."""
  return {
    "name": info.name,
    "size": info.size,
    "sha256": info.sha256,
    "inputs": _specs(info.inputs),
    "targets": _specs(info.targets),
    "notes": list(info.notes),
    "class_counts": list(info.class_counts),
    "schema": info.schema.to_json(),
  }


def _specs(arrays: Inputs) -> dict[str, Any]:
  return {
    name: {"shape": list(shape), "dtype": dtype}
    for name, (shape, dtype) in arrays.items()
  }


def info_from_json(content: Mapping[str, Any]) -> DataInfo:
  """Returns the metadata that `info_to_json` or version 0.1 wrote.

  The content may come from an untrusted source: every type and size is checked
  before anything is allocated. Other keys, such as `splits`, are ignored.

  Raises:
    ValueError: a field is missing or malformed; the message is the field and
      its value.
  """
  if "schema" not in content:
    content = _from_v0_1(content)
  # Earlier versions did not write them.
  content = {"targets": {}, "class_counts": [], **content}
  values = {
    name: json_fields.parse(name, parser, content.get(name))
    for name, parser in _PARSERS.items()
  }
  described = values.pop("schema")
  cls = json_fields.parse("kind", SCHEMAS.__getitem__, described.get("kind"))
  schema = cls.from_json(described, values["inputs"])
  if len(values["class_counts"]) not in (0, len(schema.classes)):
    raise ValueError(
      f"class_counts of {len(values['class_counts'])} numbers for "
      f"{len(schema.classes)} classes"
    )
  return DataInfo(**values, schema=schema)


def checksums_from_json(content: Mapping[str, Any]) -> dict[str, Any]:
  """Returns `content["splits"]`: `{"size", "sha256"}` by the name of a split.

  Raises:
    ValueError: it is missing or malformed.
  """
  return json_fields.parse("splits", _checksums, content.get("splits"))


def _checksums(value: Any) -> dict[str, Any]:
  return {
    json_fields.text(split): {
      "size": json_fields.count(entry["size"]),
      "sha256": json_fields.text(entry["sha256"]),
    }
    for split, entry in value.items()
  }


def _object(value: Any) -> dict[str, Any]:
  if not isinstance(value, dict):
    raise TypeError
  return value


_PARSERS = {
  "name": json_fields.text,
  "size": json_fields.count,
  "sha256": json_fields.text,
  "inputs": json_fields.inputs,
  "targets": json_fields.inputs,
  "notes": json_fields.names,
  "class_counts": json_fields.counts,
  "schema": _object,
}


def _from_v0_1(content: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content of a `data.json` of version 0.1 in today's layout.

  There one flat dict held the input's shape and dtype and, depending on the
  data set, some of `V0_1_FIELDS`. Its values are checked by the caller.
  """
  name, dtype = content.get("input"), content.get("dtype")
  axes = json_fields.parse("input", V0_1_AXES.__getitem__, name)
  shape = json_fields.parse("shape", json_fields.shape, content.get("shape"))
  if len(shape) != axes:
    raise ValueError(f"shape={shape} of an {name!r}")
  train = {**content, **_train_split(content)}
  fields = {
    key: content[key] for key in V0_1_FIELDS if content.get(key) is not None
  }
  if name == "image" and dtype == "uint8" and shape[2] in (1, 3):
    kind = "images"
  else:
    kind = "tables" if "columns" in fields else "arrays"
  return {
    "name": content.get("name"),
    "size": train.get("size"),
    "sha256": train.get("sha256"),
    "inputs": {name: {"shape": list(shape), "dtype": dtype}},
    "notes": content.get("notes", []),
    "schema": {"kind": kind, **fields},
  }


def _train_split(content: Mapping[str, Any]) -> Mapping[str, Any]:
  splits = content.get("splits")
  train = splits.get("train") if isinstance(splits, dict) else None
  return train if isinstance(train, dict) else {}

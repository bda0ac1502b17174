"""Metadata survives JSON, and hostile JSON and files are refused."""

import copy
import dataclasses
import io
import json
import os
import pathlib
import re
import zipfile

import numpy as np
import pytest

from dlcore import data
from dlcore.data import json_fields
from dlcore.data.text.symbol_tokenizers import ByteTokenizer
from dlcore.errors import UserError

RUNS = pathlib.Path(__file__).parents[1] / "runs_v0_1"
V0_1 = {
  path.parents[1].name: json.loads(path.read_text())
  for path in sorted(RUNS.glob("*/assets/data.json"))
}


def _infos():
  ids = np.ones((3, 4), np.int32)
  mask = (np.arange(4) < np.array([[1], [4], [4]])).astype(np.int32)
  arrays = {"input_ids": ids, "attention_mask": mask, "label": ids[:, 0]}
  tokens = data.from_arrays(
    arrays,
    name="ids",
    classes=("a", "b", "c"),
    lengths=[1, 4, 4],
    notes=["a note"],
  )
  return {
    "images": data.load("digits").train.info,
    "tables": data.load("diabetes").train.info._replace(
      schema=data.TableSchema(
        target="target",
        columns=("a", "b=x", "b=y"),
        encoding=(data.Column("a"), data.Column("b", ("x", "y"))),
        target_normalization={"mean": 0.5, "std": 2.0},
      ),
      inputs={"features": ((3,), "float32")},
    ),
    "arrays": tokens.info,
    **{kind: _text_info(kind) for kind in TEXTS},
  }


TEXTS = {
  "text": {"target": "label", "classes": ("a", "b", "c")},
  "chat": {"template": "plain", "loss": "all"},
  "corpus": {},
  "similar_texts": {},
  "tagged_text": {"classes": ("a", "b", "c")},
  "text_pairs": {"target_tokenizer": ByteTokenizer(lowercase=True)},
}
"""Fields of the schema of each kind of text."""


def _text_info(kind):
  ids = np.ones((3, 4), np.int32)
  schema = data.SCHEMAS[kind](
    tokenizer=ByteTokenizer(), vocab_size=260, max_length=4, **TEXTS[kind]
  )
  arrays = {"input_ids": ids, schema.target: ids}
  if kind == "chat":
    arrays |= {"segment_ids": ids, "positions": ids}
  elif kind != "corpus":
    arrays["attention_mask"] = ids
  if kind == "text":
    arrays["label"] = ids[:, 0]
  return data.from_arrays(arrays, name="ids", schema=schema).info


@pytest.mark.parametrize("schema", data.SCHEMAS.values())
def test_schemas_are_immutable_and_take_keywords(schema):
  with pytest.raises(dataclasses.FrozenInstanceError):
    schema(target="label").target = ""
  with pytest.raises(TypeError, match="positional"):
    schema("image")


BOUNDS = {
  "16 inputs": lambda n: {str(i): ((), "int32") for i in range(16 + n)},
  "200 characters": lambda n: {"x" * (200 + n): ((2,), "int32")},
  "8 axes": lambda n: {"x": ((1,) * (8 + n), "int32")},
  "268,435,456 values": lambda n: {
    "x": ((1 << 14, 1 << 14), "uint8"),
    **({"y": ((), "uint8")} if n else {}),
  },
  "a size of 1": lambda n: {"x": ((2, 1 - n), "uint8")},
}


@pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)
def test_inputs_are_bounded(bound):
  def parse(more):
    entries = bound(more).items()
    return json_fields.inputs(
      {k: {"shape": list(s), "dtype": d} for k, (s, d) in entries}
    )

  assert parse(0) == bound(0)
  with pytest.raises(ValueError):  # noqa: PT011  of many messages
    parse(1)


def test_batches_fit_in_256_mib():
  info = _infos()["images"]
  for size, limit, rows in ((1 << 20, 999, 256), (1, 99, 99), (1 << 29, 9, 1)):
    info = info._replace(inputs={"image": ((size,), "uint8")})
    assert info.max_rows(limit) == rows


@pytest.mark.parametrize("kind", data.SCHEMAS)
def test_the_info_survives_json(kind):
  info = _infos()[kind]
  assert info.schema.kind == kind
  assert type(info.schema) is data.SCHEMAS[kind]
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content) == info


def test_the_info_of_an_earlier_version_has_no_targets():
  info = _infos()["arrays"]
  assert info.targets == {"label": ((), "int32")}
  content = data.info_to_json(info)
  del content["targets"]
  assert data.info_from_json(content) == info._replace(targets={})


def test_fields_that_are_arrays_survive_json():
  ids = np.arange(4)[:, None]
  schema = data.ArraySchema(
    classes=np.array([0, 1]),
    vocab_size=ids.max() + 1,
    normalization={"mean": np.zeros(1), "std": np.ones(1, np.float32)},
  )
  arrays = {"input_ids": ids, "label": ids[:, 0] % 2}
  info = data.from_arrays(arrays, schema=schema).info
  assert info.schema.classes == ("0", "1")
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content) == info


def test_statistics_of_several_targets_survive_json():
  arrays = {"features": np.zeros((3, 1)), "target": np.zeros((3, 2))}
  statistics = {"mean": [0.5, 1.0], "std": [1.0, 2.0]}
  info = data.from_arrays(arrays, target_normalization=statistics).info
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content) == info


@pytest.mark.parametrize("name", V0_1)
def test_data_json_of_version_0_1_is_read(name):
  content = V0_1[name]
  info = data.info_from_json(content)
  schema = info.schema
  assert info.name == content["name"]
  assert info.inputs == {
    content["input"]: (tuple(content["shape"]), content["dtype"])
  }
  assert schema.target == content["target"]
  assert list(schema.classes) == content.get("classes", [])
  assert schema.normalization == content["normalization"]
  assert schema.target_normalization == content.get("target_normalization")
  assert isinstance(schema, data.TableSchema) == ("columns" in content)
  splits = data.checksums_from_json(content)
  assert splits == content["splits"]
  assert {"size": info.size, "sha256": info.sha256} == splits["train"]


@pytest.mark.parametrize("name", V0_1)
def test_the_data_of_version_0_1_is_unchanged(name):
  splits = data.load(V0_1[name]["name"])
  info = data.info_from_json(V0_1[name])
  sha256 = data.sha256_v0_1(splits.train)
  assert (
    splits.train.info._replace(sha256=sha256, targets={}, class_counts=())
    == info
  )
  for split, entry in V0_1[name]["splits"].items():
    source = getattr(splits, split)
    assert (source.size, data.sha256_v0_1(source)) == tuple(entry.values())


def test_an_encoding_of_version_0_1_is_read():
  content = {
    "name": "table_csv", "input": "features", "shape": [3],
    "dtype": "float32", "target": "label", "classes": ["n", "y"],
    "columns": ["a", "b=x", "b=y"],
    "encoding": [
      {"column": "a", "categories": None},
      {"column": "b", "categories": ["x", "y"]},
    ],
    "splits": {"train": {"size": 3, "sha256": "0"}},
  }  # fmt: skip
  schema = data.info_from_json(content).schema
  assert schema.encoding == (data.Column("a"), data.Column("b", ("x", "y")))


@pytest.mark.parametrize("dtype", ["U3", "O", "c8", "bool", "f2", "u1", "i8"])
@pytest.mark.parametrize("shape", [(2,), (2, 0), (2, 3), (2, 3, 3)])
@pytest.mark.parametrize("name", ["image", "features", "input_ids", "other"])
def test_a_source_reads_its_own_json_or_is_refused_at_once(dtype, shape, name):
  arrays = {name: np.zeros(shape, dtype), "target": np.zeros(2)}
  settings = {"target_normalization": {"mean": np.float32(0), "std": 1}}
  if dtype in ("U3", "O", "c8") or 0 in shape:
    with pytest.raises(ValueError, match=f"inputs={name}"):
      data.from_arrays(arrays, input=name, **settings)
    return
  if name == "input_ids" and dtype in ("bool", "f2"):
    with pytest.raises(UserError, match="expected integers in 'input_ids'"):
      data.from_arrays(arrays, input=name, **settings)
    return
  info = data.from_arrays(arrays, input=name, **settings).info
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content) == info


def _deep(depth):
  value = []
  for _ in range(depth):
    value = [value]
  return value


HOSTILE = {
  "name": [3, None, ["digits"]],
  "size": [-1, 1.5, "3", True, None],
  "sha256": [None, 3],
  "notes": [None, "text", [3]],
  "inputs": [
    None,
    [],
    {"image": None},
    {"image": {"shape": [8, 8, 1]}},
    {"image": {"shape": [2**40, 2**40, 1], "dtype": "uint8"}},
    {"image": {"shape": [20_000, 20_000, 1], "dtype": "uint8"}},
    {"image": {"shape": [8, 8, -1], "dtype": "uint8"}},
    {"image": {"shape": [8, 8, 1.0], "dtype": "uint8"}},
    {"image": {"shape": [8, 8, True], "dtype": "uint8"}},
    {"image": {"shape": [1] * 50, "dtype": "uint8"}},
    {"image": {"shape": "881", "dtype": "uint8"}},
    {"image": {"shape": [8, 8, 1], "dtype": "object"}},
    {"image": {"shape": [8, 8, 1], "dtype": ["uint8"]}},
    {"image": {"shape": [8, 8, 2], "dtype": "uint8"}},
    {"image": {"shape": [8, 8], "dtype": "uint8"}},
    {"": {"shape": [8, 8, 1], "dtype": "uint8"}},
    {"a" * 1000: {"shape": [8, 8, 1], "dtype": "uint8"}},
    {str(i): {"shape": [1], "dtype": "uint8"} for i in range(100)},
  ],
  "schema": [None, [], {}, {"kind": "pickle"}, {"kind": ["images"]}],
}
HOSTILE["targets"] = [
  None,
  [],
  {"label": None},
  {"label": {"shape": [2**40, 2**40], "dtype": "uint8"}},
  {"label": {"shape": [], "dtype": "object"}},
]
HOSTILE_SCHEMA = {
  "input": ["features", 3, None],
  "target": [3, None],
  "classes": ["abc", [1], None, {"a": 1}, [["a"]]],
  "normalization": [
    3,
    {},
    {"mean": [0.5]},
    {"mean": 0.5, "std": 0.5},
    {"mean": [0.5], "std": [0.0]},
    {"mean": [0.5], "std": [-1.0]},
    {"mean": [float("nan")], "std": [1.0]},
    {"mean": [10**400], "std": [1.0]},
    {"mean": [0.5, 0.5], "std": [1.0, 1.0]},
    {"mean": ["0.5"], "std": [1.0]},
    {"mean": _deep(500), "std": [1.0]},
  ],
  "target_normalization": [
    {"mean": [1.0], "std": 1.0},
    {"mean": [1.0, 2.0], "std": [1.0, 0.0]},
    {"mean": 1.0},
    3,
  ],
  "sequences": ["image", [3]],
  "vocab_size": [-1, 1.5, "3"],
  "columns": [["a"]],
  "__class__": ["x"],
}


@pytest.mark.parametrize(
  ("field", "value"),
  [(field, value) for field, values in HOSTILE.items() for value in values],
)
def test_hostile_fields_are_refused_by_name(field, value):
  content = data.info_to_json(_infos()["images"])
  content[field] = value
  with pytest.raises(
    ValueError, match=rf"{field}|normalization|kind"
  ) as caught:
    data.info_from_json(content)
  assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
  ("field", "value"),
  [
    (field, value)
    for field, values in HOSTILE_SCHEMA.items()
    for value in values
  ],
)
def test_hostile_schemas_are_refused_by_field(field, value):
  content = copy.deepcopy(data.info_to_json(_infos()["images"]))
  content["schema"][field] = value
  with pytest.raises(ValueError, match=re.escape(field)) as caught:
    data.info_from_json(content)
  assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("columns", ["a"]),
    ("encoding", [{"column": "a", "categories": ["x"]}]),
    ("encoding", [{"column": "a"}]),
    ("encoding", [{"column": 3, "categories": None}]),
    ("encoding", {"a": None}),
    ("encoding", 3),
  ],
)
def test_hostile_tables_are_refused_by_field(field, value):
  content = copy.deepcopy(data.info_to_json(_infos()["tables"]))
  content["schema"][field] = value
  with pytest.raises(ValueError, match=field):
    data.info_from_json(content)


@pytest.mark.parametrize("field", ["name", "input", "shape", "dtype", "splits"])
@pytest.mark.parametrize("value", [None, 3, [], {}, _deep(500)])
def test_hostile_files_of_version_0_1_are_refused(field, value):
  content = {**V0_1["cnn_ema"], field: value}
  with pytest.raises(ValueError, match=r"="):
    data.info_from_json(content)


@pytest.mark.parametrize(
  "splits", [None, [], {"train": None}, {"train": {"size": "3"}}, {"a": {}}]
)
def test_hostile_checksums_are_refused(splits):
  with pytest.raises(ValueError, match="splits"):
    data.checksums_from_json({"splits": splits})


def test_the_batch_of_a_large_example_is_small():
  large = data.DataInfo(
    "a", 1, "", {"x": ((1 << 26,), "float32")}, (), data.ArraySchema(input="x")
  )
  assert large.max_rows(256) == 1
  assert _infos()["images"].max_rows(256) == 256


@pytest.fixture
def tokens():
  ids = np.arange(12, dtype=np.int32).reshape(3, 4)
  arrays = {"input_ids": ids, "attention_mask": np.ones((3, 4), np.int32)}
  return data.from_arrays({**arrays, "label": ids[:, 0]}), arrays


def _read(path, info, rows=2):
  return list(info.schema.read([path], info, rows))


def _error(path, info):
  ((names, arrays, errors),) = _read(path, info)
  assert names == []
  assert arrays is None
  ((name, reason),) = errors
  assert name == str(path)
  return reason


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_npz_files_are_read_row_by_row(tokens, tmp_path, save, dtype):
  source, arrays = tokens
  path = tmp_path / "new.npz"
  save(path, other=3, **{k: v.astype(dtype) for k, v in arrays.items()})
  parts = _read(path, source.info)
  assert [part.names for part in parts] == [
    [f"{path}[0]", f"{path}[1]"],
    [f"{path}[2]"],
  ]
  assert parts[0].arrays.keys() == arrays.keys()
  for name, array in arrays.items():
    read = np.concatenate([part.arrays[name] for part in parts])
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_values_that_do_not_fit_are_errors_of_their_rows(tokens, tmp_path):
  source, arrays = tokens
  path = tmp_path / "new.npz"
  ids = arrays["input_ids"].astype(np.int64)
  ids[1, 2] = 2**40
  np.savez(path, **{**arrays, "input_ids": ids})
  (part,) = _read(path, source.info, 10)
  assert part.names == [f"{path}[0]", f"{path}[2]"]
  np.testing.assert_array_equal(
    part.arrays["input_ids"], arrays["input_ids"][[0, 2]]
  )
  assert part.errors == [
    (f"{path}[1]", "a value of 'input_ids' is not representable as int32")
  ]
  features = data.from_arrays({"features": np.zeros((2, 1), np.float32)})
  np.savez(path, features=np.array([[1.0], [np.nan], [1e300]]))
  (part,) = _read(path, features.info, 10)
  assert part.names == [f"{path}[0]"]
  assert [name for name, _ in part.errors] == [f"{path}[1]", f"{path}[2]"]


def test_malformed_npz_files_are_refused(tokens, tmp_path):
  source, arrays = tokens
  path = tmp_path / "new.npz"
  assert _error(path, source.info) == "no such file"
  path.write_text("no archive")
  assert "not a readable .npz" in _error(path, source.info)
  ids = arrays["input_ids"]
  for reason, changed in {
    "expected an array 'attention_mask'": {"attention_mask": None},
    "of shape [N, 4], got (3, 5)": {"input_ids": np.ones((3, 5), np.int32)},
    "of int32, got float32": {"input_ids": ids.astype(np.float32)},
    "of one length": {"input_ids": ids[:2]},
    "expected numbers": {"input_ids": np.array(ids, object)},
    "in C order": {"input_ids": np.asfortranarray(ids)},
  }.items():
    new = {k: v for k, v in {**arrays, **changed}.items() if v is not None}
    np.savez(path, **new)
    assert reason in _error(path, source.info)
  zeros = {name: np.zeros((1 << 22, 4), np.int32) for name in arrays}
  np.savez_compressed(path, **zeros)
  assert "that expand to 67,108,992" in _error(path, source.info)
  with zipfile.ZipFile(path, "w") as archive:  # A header that is not Python.
    archive.writestr("input_ids.npy", b"\x93NUMPY\1\0\4\0((((")
    archive.writestr("attention_mask.npy", b"")
  assert "EOF in multi-line statement" in _error(path, source.info)


@pytest.mark.slow
def test_an_npz_file_of_many_members_is_refused(tokens, tmp_path):
  source, _ = tokens
  path = tmp_path / "new.npz"
  for count, reason in ((2000, "2,000 members"), (90_000, "list of members")):
    with zipfile.ZipFile(path, "w") as archive:
      for i in range(count):
        archive.writestr(f"a{i}.npy", b"")
    assert reason in _error(path, source.info)
  path.unlink()
  os.mkfifo(path)
  assert _error(path, source.info) == "not a plain file"


def _npy(shape, content, magic=b"\x93NUMPY\x01\x00"):
  header = repr(
    {"descr": "<i4", "fortran_order": False, "shape": shape}
  ).encode()
  return magic + len(header).to_bytes(2, "little") + header + content


@pytest.mark.parametrize(
  "member",
  [
    _npy((2**60, 4), bytes(100)),
    _npy((-3, 4), bytes(100)),
    _npy((3, 4), bytes(20)),
    _npy((3, 4), bytes(48), b"\x93NUMPY\x02\x00\xff\xff"),
    b"not an array",
    b"",
  ],
)
def test_hostile_arrays_allocate_nothing(tokens, tmp_path, member):
  source, arrays = tokens
  path = tmp_path / "new.npz"
  stream = io.BytesIO()
  np.save(stream, arrays["attention_mask"])
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("input_ids.npy", member)
    archive.writestr("attention_mask.npy", stream.getvalue())
  assert _error(path, source.info)


def test_other_compressions_are_refused(tokens, tmp_path):
  source, arrays = tokens
  path = tmp_path / "new.npz"
  with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
    for name, array in arrays.items():
      stream = io.BytesIO()
      np.save(stream, array)
      archive.writestr(f"{name}.npy", stream.getvalue())
  assert "unknown compression" in _error(path, source.info)

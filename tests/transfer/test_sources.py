"""Accepted sources of weights, and the errors for others."""

import pickle
import shlex
import sys
import types

import numpy as np
import pytest

from dlcore import transfer
from dlcore.errors import UserError
from dlcore.transfer.io import safetensors, sources


def refused(source, *expected, opens=sources.open_weights):
  with pytest.raises(UserError) as error:
    opens(source)
  for text in expected:
    assert text in str(error.value)
  assert len(error.value.lines) == 3
  assert all(line.isprintable() for line in error.value.lines)
  return error.value.lines


@pytest.mark.parametrize(
  ("source", "todo"),
  [
    ("HF:org/x", "write hf:org/x,"),
    ("Hf:gpt2@v1", "write hf:gpt2@v1,"),
    ("https://huggingface.co/org/x/tree/main", "write hf:org/x,"),
    ("http://example.com/x.safetensors", "download it"),
    ("org/x", "write hf:org/x for a name on the hub"),
    ("gpt2", "write hf:gpt2 for a name on the hub"),
    ("runs/model.safetensors", "check the path; relative"),
    ("~nobody/x.npz", "check the path; relative"),
    ("/nope/\0/x", "check the path; relative"),
  ],
)
@pytest.mark.parametrize(
  "opens", [sources.open_weights, transfer.load_tokenizer]
)
def test_a_source_that_does_not_exist_gets_a_suggestion(source, todo, opens):
  refused(source, "no such file or folder", todo, opens=opens)


def test_the_home_folder_is_expanded(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  safetensors.write(tmp_path / "x.safetensors", {"a": np.ones(2)})
  assert list(sources.open_weights("~/x.safetensors").arrays) == ["a"]


def test_a_link_as_the_checkpoints_folder_is_refused(tmp_path):
  (tmp_path / "other").mkdir()
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "other")
  refused(tmp_path / "run", "a link", "move the folder itself")


POINTER = b"""version https://git-lfs.github.com/spec/v1
oid sha256:9e107d9d372bb6826bd81d3542a419d6e5f3c1b0e2e5e6d7a1
size 440473133
"""


@pytest.mark.parametrize(
  "name", ["x.safetensors", "x.npz", "x.bin", "tokenizer.json"]
)
def test_a_pointer_of_git_lfs_is_refused_with_the_command(name, tmp_path):
  (tmp_path / "a b").mkdir()
  (tmp_path / "a b" / name).write_bytes(POINTER)
  opens = transfer.load_tokenizer if name[0] == "t" else sources.open_weights
  todo = f"run: git -C '{tmp_path}/a b' lfs pull"
  refused(tmp_path / "a b" / name, "a pointer of Git LFS", todo, opens=opens)


@pytest.mark.parametrize(
  ("content", "expected"),
  [
    (b'{\n  "model_type": "bert"\n}', r"""b'{\n  "model_type"'"""),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"b'\x89PNG\r\n\x1a\n"),
    (b"<!DOCTYPE html>" * 9, "b'<!DOCTYPE html><'"),
  ],
)
def test_other_formats_are_reported_by_their_first_bytes(
  content, expected, tmp_path
):
  (tmp_path / "x").write_bytes(content)
  refused(tmp_path / "x", f"another format, which begins with {expected}")


class Tensor:
  """Substitute for PyTorch's tensor."""

  def __init__(self, values):
    self.values = np.asarray(values, np.float32)

  def detach(self):
    return self

  clone = contiguous = detach


@pytest.fixture
def run(monkeypatch):
  """Runs the command of a message, with a substitute for PyTorch."""

  def load(path, map_location, weights_only):
    assert weights_only
    with open(path, "rb") as file:
      return pickle.load(file)

  def save_file(tensors, path, metadata):
    arrays = {name: tensor.values for name, tensor in tensors.items()}
    safetensors.write(path, arrays, metadata)

  for name, content in {
    "torch": {"Tensor": Tensor, "load": load},
    "safetensors": {},
    "safetensors.torch": {"save_file": save_file},
  }.items():
    module = types.ModuleType(name)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)

  def convert(source):
    line = refused(source, "a pickle")[2].partition("run: ")[2]
    python, option, code, *arguments = shlex.split(line)
    assert (python, option) == ("python", "-c")
    monkeypatch.setattr(sys, "argv", ["-c", *arguments])
    exec(code, {})

  return convert


def put(path, content):
  path.parent.mkdir(exist_ok=True)
  path.write_bytes(pickle.dumps(content))
  return path


def read(source):
  return {k: v.tolist() for k, v in sources.open_weights(source).arrays.items()}


@pytest.mark.parametrize("nested", [(), ("state_dict",), ("model",)])
def test_the_conversion_command_extracts_the_weights(nested, run, tmp_path):
  content = {"a": Tensor([1, 2]), "step": 3}
  for key in nested:
    content = {key: content, "optimizer": {"a": Tensor([7])}, "epoch": 3}
  run(put(tmp_path / "my weights" / "best.pth", content))
  assert read(tmp_path / "my weights" / "best.safetensors") == {"a": [1, 2]}


def test_the_conversion_command_does_not_write_an_empty_file(run, tmp_path):
  with pytest.raises(SystemExit, match="no tensors"):
    run(put(tmp_path / "best.pth", {"epoch": 3}))
  assert not (tmp_path / "best.safetensors").exists()


def test_after_the_conversion_the_folder_is_read(run, tmp_path):
  for i, key in enumerate("ab"):
    name = f"pytorch_model-0000{i + 1}-of-00002.bin"
    put(tmp_path / "several" / name, {key: Tensor([i])})
  run(tmp_path / "several")
  assert read(tmp_path / "several") == {"a": [0], "b": [1]}
  put(tmp_path / "one" / "pytorch_model.bin", {"a": Tensor([1])})
  put(tmp_path / "one" / "pytorch_model-00001-of-00001.bin", {"b": Tensor([2])})
  run(tmp_path / "one")
  assert read(tmp_path / "one") == {"a": [1]}

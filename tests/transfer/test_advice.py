"""Weights that are refused with the step that helps."""

import json
import struct
import zipfile

import jax
import numpy as np
import pytest
from small_models import IDS, TEXT, initialized

from dlcore import models, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer.families import name_rules
from dlcore.transfer.io import npz, safetensors

SERIES = np.zeros((1, 4, 3), np.float32)
ONE = {"x": np.zeros(1, np.float32)}


def refused(source, *expected, model=None, **settings):
  model = model or models.create("mlp", num_classes=2)
  with pytest.raises(UserError) as error:
    transfer.load_pretrained(source, model, {}, **settings)
  assert len(error.value.lines) == 3
  for text in expected:
    assert text in str(error.value)


@pytest.mark.parametrize(
  "dtype", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F6_E2M3", "F4", "I4"]
)
def test_quantized_weights_need_the_original_ones(dtype, tmp_path):
  entry = {"dtype": dtype, "shape": [4], "data_offsets": [0, 4]}
  text = json.dumps({"x": entry}).encode()
  path = tmp_path / "model.safetensors"
  path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
  refused(path, f"'x' of dtype '{dtype}'", "choose the original weights")
  refused(tmp_path, "choose the original weights")


def test_a_quantized_folder_is_recognized_before_its_names(tmp_path):
  model = models.create("bert_base", **TEXT, head=None)
  variables = initialized(model, IDS)
  transfer.save_pretrained(tmp_path, model, variables)
  config = json.loads((tmp_path / "config.json").read_text())
  config["quantization_config"] = {"quant_method": "gptq"}
  (tmp_path / "config.json").write_text(json.dumps(config))
  packed = {"bert.encoder.layer.0.qweight": np.zeros((2, 2), np.int32)}
  safetensors.write(tmp_path / "model.safetensors", packed)
  for load in (
    lambda: transfer.from_pretrained(tmp_path),
    lambda: transfer.load_pretrained(tmp_path, model, variables),
  ):
    with pytest.raises(UserError, match="not quantized"):
      load()


def test_shards_without_an_index_need_it(tmp_path):
  names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
  for name in names:
    safetensors.write(tmp_path / name, ONE)
  index = "model.safetensors.index.json"
  refused(tmp_path, "2 files of a model", f"download {index}")
  refused(tmp_path / names[0], "all 2 files", f"pass their folder, {tmp_path}")
  # A single file may have a number, too.
  safetensors.write(tmp_path / "model-00001-of-00001.safetensors", ONE)
  refused(tmp_path / "model-00001-of-00001.safetensors", "'x'")


def test_a_file_of_another_name_is_suggested(tmp_path):
  refused(tmp_path, "got neither", "pass the folder or the file")
  safetensors.write(tmp_path / "best.safetensors", ONE)
  refused(tmp_path, "best.safetensors", f"such as {tmp_path}/best.safetensors")


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_files_of_torch_nn_need_the_family(cell, tmp_path):
  model = models.create(cell, width=4, head=None)
  variables = initialized(model, SERIES)
  family = transfer.FAMILIES[f"torch/{cell}"]
  arrays = name_rules.save(family.rules(model), trees.flatten(variables))
  assert "weight_ih_l0" in arrays
  path = tmp_path / "weights.safetensors"
  safetensors.write(path, arrays)
  with pytest.raises(UserError, match=f"pass family='torch/{cell}'"):
    transfer.load_pretrained(path, model, variables)
  loaded, _ = transfer.load_pretrained(
    path, model, variables, family=f"torch/{cell}"
  )
  jax.tree.map(np.testing.assert_array_equal, loaded, variables)


@pytest.mark.parametrize("name", ["bert_base", "distilbert", "gpt2"])
def test_a_head_that_dlcore_lacks_can_be_left_out(name, tmp_path):
  settings = {"distilbert": "distilbert"}.get(name, "")
  model = models.create(name, **TEXT, head=None)
  variables = initialized(model, IDS)
  transfer.save_pretrained(tmp_path, model, variables, family=settings)
  path = tmp_path / "config.json"
  config = json.loads(path.read_text())
  (architecture,) = config["architectures"]
  config["architectures"] = [
    architecture.replace("Model", "ForQuestionAnswering")
  ]
  path.write_text(json.dumps(config))
  file = tmp_path / "model.safetensors"
  arrays = {key: np.array(x) for key, x in safetensors.File(file).items()}
  arrays["qa_outputs.weight"] = np.zeros((2, 8), np.float32)
  safetensors.write(file, arrays, {"format": "pt"})
  with pytest.raises(UserError, match="a head that dlcore has") as error:
    transfer.from_pretrained(tmp_path)
  assert "head=None" in error.value.lines[2]
  assert "allow='^qa_outputs'" in error.value.lines[2]
  loaded, weights = transfer.from_pretrained(
    tmp_path, head=None, allow="^qa_outputs"
  )
  assert loaded == model.clone(num_classes=loaded.num_classes)
  jax.tree.map(np.testing.assert_array_equal, weights, variables)


def test_the_base_of_a_model_for_multiple_choice_needs_no_allow(tmp_path):
  fields = {**TEXT, "head": "classifier", "num_classes": 1}
  model = models.create("bert_base", **fields)
  variables = initialized(model, IDS)
  transfer.save_pretrained(tmp_path, model, variables)
  path = tmp_path / "config.json"
  config = json.loads(path.read_text())
  config["architectures"] = ["BertForMultipleChoice"]
  path.write_text(json.dumps(config))
  with pytest.raises(UserError, match=r"pass head=None$"):
    transfer.from_pretrained(tmp_path)
  base, _ = transfer.from_pretrained(tmp_path, head=None)
  assert base.head is None


CLAIMS = [[64, 10**9], [10**9, 64], [64, 10**9, 0], [2**31, 2**31], [10**18]]


@pytest.mark.parametrize("shape", CLAIMS)
def test_sizes_that_a_file_only_claims_are_not_allocated(shape, tmp_path):
  """Each would need 256 GB or more."""
  size = int(np.prod(shape, dtype=object)) * 4
  header = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
  for offsets in ([0, size], [0, 24]):
    header["data_offsets"] = offsets
    text = json.dumps({"x": header}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(24))
    with pytest.raises(UserError) as error:
      safetensors.File(path)
    assert len(error.value.lines) == 3
  fields = {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)}
  text = f"{fields}\n".encode()
  content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
  with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
    archive.writestr("x.npy", content + bytes(24))
  with pytest.raises(UserError, match="24 bytes") as error:
    dict(npz.File(tmp_path / "w.npz"))
  assert len(error.value.lines) == 3


def test_an_entry_that_claims_more_bytes_than_it_has_is_refused(tmp_path):
  path = tmp_path / "w.npz"
  fields = {"descr": "<f4", "fortran_order": False, "shape": (64, 10**7)}
  text = f"{fields}\n".encode()
  content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x.npy", content)
  claimed = len(content) + 64 * 10**7 * 4
  old, new = (struct.pack("<L", n) for n in (len(content), claimed))
  path.write_bytes(path.read_bytes().replace(old, new))
  with pytest.raises(UserError) as error:
    dict(npz.File(path))
  assert len(error.value.lines) == 3


def test_the_contents_of_an_archive_are_read_once(tmp_path, monkeypatch):
  """With 60,000 members, once per member would take hours."""
  arrays = {f"a{i}": np.full(3, i) for i in range(50)}
  np.savez(tmp_path / "w.npz", **arrays)
  reads = []

  class Counting(zipfile.ZipFile):
    def __init__(self, *arguments):
      reads.append(arguments)
      super().__init__(*arguments)

  monkeypatch.setattr(zipfile, "ZipFile", Counting)
  file = npz.File(tmp_path / "w.npz")
  for name, array in arrays.items():
    np.testing.assert_array_equal(file[name], array)
  assert len(reads) == 1

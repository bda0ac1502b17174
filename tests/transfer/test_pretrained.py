import json

import jax
import ml_dtypes
import numpy as np
import published
import pytest

from dlcore import models, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer import (
  FAMILIES,
  input_channels,
  selection,
  stacked_blocks,
)
from dlcore.transfer.io import pickles, safetensors


@pytest.fixture(autouse=True)
def _family(monkeypatch):
  monkeypatch.setattr(selection, "FAMILIES", TABLE)


TABLE = {"test": published.FAMILY}
MLP = models.create("mlp", num_classes=2)


@pytest.fixture
def folder(tmp_path):
  model, variables = published.resnet()
  transfer.save_pretrained(tmp_path / "weights", model, variables)
  return tmp_path / "weights"


def arrays_of(folder):
  return dict(safetensors.File(folder / "model.safetensors"))


def file(tmp_path, arrays, name="w.safetensors"):
  safetensors.write(tmp_path / name, arrays)
  return tmp_path / name


def equal(one, other):
  one, other = trees.flatten(one), trees.flatten(other)
  assert one.keys() == other.keys()
  for path, array in one.items():
    np.testing.assert_array_equal(array, other[path], err_msg=path)


def zeros(variables):
  return trees.map_with_path(lambda _, leaf: np.zeros_like(leaf), variables)


def refused(source, *expected, fields=None, **arguments):
  model, variables = published.resnet(**(fields or {}))
  with pytest.raises(UserError) as error:
    transfer.load_pretrained(source, model, variables, **arguments)
  for text in expected:
    assert text in str(error.value)
  assert 2 <= len(error.value.lines) <= 3
  assert all(line.isprintable() for line in error.value.lines)


def test_saved_weights_load_and_save_again_bit_for_bit(folder, tmp_path):
  model, variables = published.resnet()
  built, loaded = transfer.from_pretrained(folder)
  assert built == model
  equal(loaded, variables)
  transfer.save_pretrained(tmp_path / "again", built, loaded)
  for path in folder.iterdir():
    assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_variables_keep_their_dtypes_and_devices(folder):
  model, variables = published.resnet()
  device = jax.devices()[3]
  placed = jax.device_put(zeros(variables), device)
  loaded, report = transfer.load_pretrained(folder, model, placed)
  equal(loaded, variables)
  assert {leaf.device for leaf in jax.tree.leaves(loaded)} == {device}
  assert len(report.matched) == len(trees.flatten(variables))
  assert report.matched["params/stem/norm/scale"] == "bn1.weight"
  assert not any((report.missing, report.unused, report.reshaped))


def test_half_precision_is_converted_to_float32(folder, tmp_path):
  model, variables = published.resnet()
  half = {
    name: array.astype(ml_dtypes.bfloat16)
    for name, array in arrays_of(folder).items()
  }
  loaded, _ = transfer.load_pretrained(file(tmp_path, half), model, variables)
  expected = trees.map_with_path(
    lambda _, leaf: leaf.astype(ml_dtypes.bfloat16).astype(np.float32),
    variables,
  )
  equal(loaded, expected)


def test_the_loaded_arrays_outlive_their_file(folder):
  model, variables = published.resnet()
  loaded, _ = transfer.load_pretrained(folder, model, zeros(variables))
  path = folder / "model.safetensors"
  content = bytearray(path.read_bytes())
  content[-4096:] = bytes(4096)
  path.write_bytes(content)
  equal(loaded, variables)


def test_a_head_of_another_width_keeps_its_initialization(folder):
  model, variables = published.resnet(num_classes=7)
  loaded, report = transfer.load_pretrained(folder, model, variables)
  assert set(report.reinitialized) == {"params/head/kernel", "params/head/bias"}
  assert "[8, 5] published, [8, 7] here" in str(report)
  equal(loaded["params"]["head"], variables["params"]["head"])
  equal(loaded["batch_stats"], published.resnet()[1]["batch_stats"])


def test_a_matching_head_can_keep_its_initialization(folder):
  model, variables = published.resnet()
  initial = zeros(variables)
  loaded, report = transfer.load_pretrained(
    folder, model, initial, head="reinitialized"
  )
  assert report.reinitialized["params/head/bias"] == "as requested"
  equal(loaded["params"]["head"], initial["params"]["head"])
  equal(loaded["params"]["stem"], variables["params"]["stem"])


def test_weights_without_a_head_keep_its_initialization(folder, tmp_path):
  arrays = arrays_of(folder)
  del arrays["fc.weight"], arrays["fc.bias"]
  model, variables = published.resnet()
  _, report = transfer.load_pretrained(file(tmp_path, arrays), model, variables)
  assert report.reinitialized["params/head/kernel"] == "not published"


def test_a_head_that_the_model_lacks_is_skipped(folder):
  model, variables = published.resnet()
  params = dict(variables["params"])
  del params["head"]
  headless = {**variables, "params": params}
  loaded, report = transfer.load_pretrained(folder, model, headless)
  equal(loaded, headless)
  assert set(report.skipped) == {"fc.weight", "fc.bias"}
  assert "skipped   fc." in str(report)


@pytest.mark.parametrize(("old", "new"), [(3, 1), (1, 3)])
def test_grayscale_images_give_the_same_outputs_after_adapting_channels(
  tmp_path, old, new
):
  model, variables = published.resnet(channels=old)
  transfer.save_pretrained(tmp_path, model, variables)
  _, others = published.resnet(channels=new)
  loaded, report = transfer.load_pretrained(tmp_path, model, others)
  assert "gray" in report.reshaped["params/stem/conv/kernel"]
  gray = np.random.default_rng(1).normal(size=(2, 32, 32, 1))
  gray = gray.astype(np.float32)
  apply = jax.jit(lambda variables, x: model.apply(variables, x, train=False))
  before = apply(variables, np.repeat(gray, old, axis=-1))
  after = apply(loaded, np.repeat(gray, new, axis=-1))
  # The sum over channels in another order.
  assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()


@pytest.mark.parametrize(
  ("shape", "expected"),
  [
    ((8, 8, 3, 5), r"\[16, 16, 3, 5\] cannot become \[8, 8, 3, 5\]"),
    ((16, 16, 1, 6), r"\[16, 16, 3, 5\] cannot become \[16, 16, 1, 6\]"),
    ((16, 16, 2, 5), "only 3 input channels become 1"),
  ],
)
def test_kernels_of_other_sizes_are_refused(shape, expected):
  with pytest.raises(ValueError, match=expected):
    input_channels.adapt(np.ones((16, 16, 3, 5)), shape)


def test_a_position_table_is_interpolated_over_the_image():
  rows = np.stack(np.meshgrid(*[np.arange(8.0)] * 2), -1).reshape(1, 64, 2)
  table = np.concatenate([np.full((1, 1, 2), 9.0), rows], axis=1)
  (resize,) = FAMILIES["vit"].resize.values()
  small = resize(table, (1, 17, 2))
  np.testing.assert_array_equal(small[:, 0], table[:, 0])
  grid = small[0, 1:].reshape(4, 4, 2)
  inner = grid[1:-1, 1:-1]  # The edges have fewer neighbors.
  np.testing.assert_allclose(inner[0, :, 0], [2.5, 4.5], atol=0.1)
  np.testing.assert_allclose(inner[:, 0, 1], [2.5, 4.5], atol=0.1)
  with pytest.raises(ValueError, match="square"):
    resize(table, (1, 18, 2))


def test_a_family_resizes_its_own_arrays(folder, monkeypatch):
  def crop(array, shape):
    return array[: shape[0]]

  family = published.FAMILY._replace(
    resize={"stem/norm": crop}, output_layer="^params/(?!stem)|stage|conv"
  )
  monkeypatch.setitem(TABLE, "test", family)
  model, variables = published.resnet(width=2)
  _, report = transfer.load_pretrained(folder, model, variables)
  assert report.reshaped["params/stem/norm/scale"] == "[4] to [2], resized"


def test_missing_and_unused_names_are_reported_with_the_nearest(
  folder, tmp_path
):
  arrays = arrays_of(folder)
  arrays["bn1.wieght"] = arrays.pop("bn1.weight")
  arrays["bn1.num_batches_tracked"] = np.int64(3)
  path = file(tmp_path, arrays)
  refused(path, "missing 'params/stem/norm/scale' (nearest: 'bn1.wieght')")
  refused(path, "unused 'bn1.wieght' (nearest: 'params/stem/norm/scale')")
  refused(path, r"allow='^params/stem/norm/scale$|^bn1[.]wieght$'")
  refused(path, "unused 'bn1.wieght'", allow="norm/scale$")
  model, variables = published.resnet()
  loaded, report = transfer.load_pretrained(
    path, model, zeros(variables), allow=r"stem/norm/scale$|^bn1\.wieght$"
  )
  assert report.missing == ("params/stem/norm/scale",)
  assert report.unused == ("bn1.wieght",)
  assert report.hints["bn1.wieght"] == "params/stem/norm/scale"
  assert not np.any(loaded["params"]["stem"]["norm"]["scale"])
  for word in (
    "matched   31 of 32",
    "missing   params",
    "unused    bn1.wi",
  ):
    assert word in str(report)


def test_another_shape_is_refused_unless_allowed(folder):
  got = "got [4] of the published 'bn1.bias'"
  refused(folder, got, fields={"width": 8}, allow="^batch_stats|conv|block")
  model, variables = published.resnet(width=8)
  loaded, report = transfer.load_pretrained(
    folder, model, variables, allow="^params|^batch_stats"
  )
  equal(loaded, variables)
  assert len(report.missing) == len(trees.flatten(variables)) - 2
  # The bias matches, but the kernel of its layer does not.
  assert (
    report.reinitialized["params/head/bias"] == "with the rest of its layer"
  )
  assert not report.matched


@pytest.mark.parametrize("prefixed", [True, False])
def test_a_base_is_loaded_into_a_model_with_a_head(
  folder, tmp_path, prefixed, monkeypatch
):
  model, variables = published.resnet()
  arrays = {
    name if name.startswith("fc") else f"resnet.{name}": array
    for name, array in arrays_of(folder).items()
  }
  if prefixed:  # The weights have the prefix, the rules do not.
    source = file(tmp_path, arrays)
  else:
    own = [
      rule._replace(published=f"resnet.{rule.published}")
      if not rule.published.startswith("fc")
      else rule
      for rule in published.FAMILY.rules(model)
    ]
    family = published.FAMILY._replace(rules=lambda model: own)
    monkeypatch.setitem(TABLE, "test", family)
    source = folder
  loaded, report = transfer.load_pretrained(source, model, zeros(variables))
  equal(loaded, variables)
  assert not report.unused


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(folder, tmp_path, value):
  arrays = arrays_of(folder)
  bad = arrays["bn1.weight"].astype(np.float64)
  bad[2] = value
  refused(file(tmp_path, {**arrays, "bn1.weight": bad}), "'bn1.weight'", "NaN")


def test_integer_weights_are_refused(folder, tmp_path):
  arrays = {**arrays_of(folder), "bn1.weight": np.ones(4, np.int8)}
  refused(file(tmp_path, arrays), "float32", "int8")


@pytest.mark.parametrize("shape", [(), (5,), (5, 8, 1), (8, 5, 2, 2)])
def test_other_axes_are_a_user_error(folder, tmp_path, shape):
  arrays = {**arrays_of(folder), "conv1.weight": np.ones(shape, np.float32)}
  refused(file(tmp_path, arrays), "conv1.weight")


def test_weights_of_another_model_are_refused(tmp_path):
  path = file(tmp_path, {"encoder.weight": np.ones(3)})
  refused(path, "ResNet", "test, dlcore", "1 arrays: 'encoder.weight'")
  refused(path, "'tset'", "did you mean 'test'?", family="tset")
  refused(path, "expected head to be", "'new'", head="new")
  model = models.create("mlp", num_classes=2)
  variables = {"params": {}}
  with pytest.raises(UserError, match="of the family 'test'"):
    transfer.load_pretrained(path, model, variables, family="test")


def sharded(folder, **changes):
  """Splits a folder's file in two, with an index, changed."""
  arrays = arrays_of(folder)
  names = sorted(arrays)
  files = {
    name: f"model-0000{1 + (i >= 9)}-of-00002.safetensors"
    for i, name in enumerate(names)
  }
  for file_name in set(files.values()):
    shard = {name: arrays[name] for name in names if files[name] == file_name}
    safetensors.write(folder / file_name, shard)
  (folder / "model.safetensors").unlink()
  files = {k: v for k, v in {**files, **changes}.items() if v is not None}
  index = {"metadata": {}, "weight_map": files}
  (folder / "model.safetensors.index.json").write_text(json.dumps(index))
  return index


def test_a_folder_of_several_files_is_loaded(folder):
  sharded(folder)
  model, variables = published.resnet()
  loaded, _ = transfer.load_pretrained(folder, model, zeros(variables))
  equal(loaded, variables)


SECOND = "model-00002-of-00002.safetensors"
SHARDS = {
  "a path upwards": ({"bn1.bias": f"../{SECOND}"}, "file name"),
  "an absolute path": ({"bn1.bias": "/etc/passwd.safetensors"}, "file name"),
  "a Windows path": ({"bn1.bias": "..\\x.safetensors"}, "file name"),
  "a NUL": ({"bn1.bias": "a\0.safetensors"}, "file name"),
  "a hidden file": ({"bn1.bias": ".safetensors"}, "file name"),
  "a pickle": ({"bn1.bias": "model.bin"}, "file name"),
  "a number": ({"bn1.bias": 3}, "file name"),
  "a list": ({"bn1.bias": []}, "file name"),
  "a missing file": ({"bn1.bias": "x.safetensors"}, "No such file"),
  "the wrong file": ({"bn1.bias": SECOND}, "'bn1.bias', which is not in"),
  "a missing tensor": ({"other": SECOND}, "'other', which is not in"),
  "an omitted array": ({"bn1.bias": None}, "without 'bn1.bias'"),
}


@pytest.mark.parametrize("case", SHARDS)
def test_an_invalid_index_is_refused_in_three_lines(case, folder):
  changes, expected = SHARDS[case]
  sharded(folder, **changes)
  refused(folder, expected)


INDEXES = {
  "a list": ("[]", "list"),
  "invalid JSON": ("{", "Expecting"),
  "without a map": ("{}", "weight_map=None"),
  "an empty map": ('{"weight_map": {}}', "weight_map={}"),
  "a repeated name": ('{"weight_map": {"a": "b", "a": "c"}}', "twice"),
  "deep nesting": ('{"a":' * 60000, "nested more than 64"),
}


@pytest.mark.parametrize("case", INDEXES)
@pytest.mark.parametrize(
  "name", ["model.safetensors.index.json", "config.json"]
)
def test_invalid_json_is_refused_in_three_lines(case, name, folder):
  text, expected = INDEXES[case]
  (folder / name).write_text(text)
  if name == "config.json":
    if expected.startswith("weight"):
      pytest.skip("valid as a config.json")
    with pytest.raises(UserError) as error:
      transfer.from_pretrained(folder)
    assert 2 <= len(error.value.lines) <= 3
  else:
    (folder / "model.safetensors").unlink()
    refused(folder, expected)


def test_an_index_beside_a_single_file_is_ignored(folder):
  index = {"weight_map": {"conv1.weight": SECOND}}
  (folder / "model.safetensors.index.json").write_text(json.dumps(index))
  equal(transfer.from_pretrained(folder)[1], published.resnet()[1])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_links_in_a_folder_are_refused(name, folder):
  (folder / name).rename(folder / "other")
  (folder / name).symlink_to(folder / "other")
  refused(folder, "a link")


CONFIGS = {
  "no family": ({"depths": [1, 1]}, "model_type"),
  "an unknown family": ({"model_type": "tset"}, "a model_type among"),
  "a missing entry": ({"model_type": "test"}, "num_labels"),
  "a number as a list": (
    {"model_type": "test", "num_labels": 5, "depths": 3, "width": 4},
    "not iterable",
  ),
  "other sizes": (
    {"model_type": "test", "num_labels": 5, "depths": [1, 1], "width": 8},
    "the shape",
  ),
  "a width above the size of all weights": (
    {"model_type": "test", "num_labels": 5, "depths": [1, 1], "width": 10**9},
    "width=1,000,000,000",
  ),
  "more blocks than arrays": (
    {"model_type": "test", "num_labels": 5, "depths": [1, 10**9], "width": 4},
    "stages=1,000,000,001",
  ),
  "a number too large for a size": (
    {"model_type": "test", "num_labels": 10**18, "depths": [1, 1], "width": 4},
    "above 2,147,483,647: 1000000000000000000",
  ),
  "a deep list": (
    {
      **{"model_type": "test", "num_labels": 5, "depths": [1, 1], "width": 4},
      **{"x": json.loads("[" * 900 + "]" * 900)},
    },
    "nested more than 64",
  ),
  "a list of 100,000 widths": (
    {
      **{"model_type": "dlcore", "input": [6]},
      **{"model": {"name": "mlp", "num_classes": 5, "widths": [1] * 100_000}},
    },
    "the length of widths=100,000",
  ),
  "large images": (
    {
      **{"model_type": "test", "num_labels": 5, "depths": [1, 1], "width": 4},
      **{"image_size": 10**9},
    },
    "(1, 1000000000, 1000000000, 3), which are too large",
  ),
  "another depth": (
    {"model_type": "test", "num_labels": 5, "depths": [1, 2], "width": 4},
    "missing 'batch_stats/stage_1_block_1",
  ),
  "another head": (
    {"model_type": "test", "num_labels": 6, "depths": [1, 1], "width": 4},
    "none for params/head",
  ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_does_not_match_is_refused_in_three_lines(case, folder):
  config, expected = CONFIGS[case]
  (folder / "config.json").write_text(json.dumps(config))
  with pytest.raises(UserError) as error:
    transfer.from_pretrained(folder)
  assert expected in str(error.value)
  assert 2 <= len(error.value.lines) <= 3


@pytest.mark.parametrize(
  ("name", "content"),
  [
    ("model.pt", b"hello"),
    ("model.pth", b"PK\x03\x04"),
    ("model.ckpt", b"\x80\x02"),
    ("weights", b"PK\x03\x04"),
    ("weights.safetensors", b"\x80\x02\x8a"),
    ("pytorch_model.bin", b"PK\x03\x04"),
  ],
)
def test_pickles_are_refused_with_the_conversion_command(
  name, content, tmp_path
):
  path = tmp_path / "my weights" / name
  path.parent.mkdir()
  path.write_bytes(content)
  parts = ("PyTorch, run: python -c '", f"'{path}'", "save_file")
  refused(path, *parts)
  if name == "pytorch_model.bin":
    refused(path.parent, *parts)


def test_the_conversion_command_is_valid_python():
  compile(pickles.CONVERT, "line", "exec")
  # The shell quotes the code by them.
  assert "'" not in pickles.CONVERT


def test_a_missing_source_is_refused(tmp_path):
  refused(tmp_path / "absent", "no such file")
  refused(tmp_path, "got neither")


def test_npz_archives_are_loaded_by_the_same_rules(folder, tmp_path):
  np.savez(tmp_path / "w.npz", **arrays_of(folder))
  model, variables = published.resnet()
  loaded, report = transfer.load_pretrained(
    tmp_path / "w.npz", model, zeros(variables)
  )
  equal(loaded, variables)
  assert report.family == "test"


@pytest.mark.parametrize(
  ("config", "dtype"),
  [
    ({"name": "mlp", "num_classes": 3, "widths": [4, 5]}, np.float32),
    (
      {
        "name": "gru",
        "num_classes": 3,
        "vocab_size": 9,
        "width": 4,
        "depth": 1,
      },
      np.int32,
    ),
  ],
)
def test_the_format_of_dlcore_has_the_paths_as_names(tmp_path, config, dtype):
  fields = {
    key: tuple(value) if isinstance(value, list) else value
    for key, value in config.items()
  }
  model = models.create(**fields)
  x = np.ones((2, 6), dtype)
  variables = model.init(jax.random.key(0), x, train=False)
  name = transfer.save_pretrained(
    tmp_path, model, variables, config={"model": config, "input": [6]}
  )
  assert name == "dlcore"
  built, loaded = transfer.from_pretrained(tmp_path)
  assert built == model
  equal(loaded, variables)


def test_scanned_blocks_are_loaded_and_saved_separately(tmp_path):
  normal = np.random.default_rng(0).normal
  stacked = {
    "encoder": {"blocks": {"norm": {"scale": normal(size=(3, 4))}}},
    "blocks": {"rate": normal(size=(2,))},
    "tail": normal(size=(4,)),
  }
  flat = stacked_blocks.unstack(trees.flatten({"params": stacked}))
  assert flat.keys() == {
    *(f"params/encoder/block_{i}/norm/scale" for i in range(3)),
    *(f"params/block_{i}/rate" for i in range(2)),
    "params/tail",
  }
  assert all(flat[f"params/block_{i}/rate"].shape == () for i in range(2))
  path = file(tmp_path, flat)
  like = trees.map_with_path(
    lambda _, leaf: np.full(leaf.shape, 7, np.float32), {"params": stacked}
  )
  loaded, _ = transfer.load_pretrained(path, MLP, like)
  equal(
    loaded, trees.map_with_path(lambda _, a: np.float32(a), {"params": stacked})
  )
  again, _ = transfer.load_pretrained(loaded, MLP, like)
  equal(again, loaded)
  del flat["params/encoder/block_1/norm/scale"]
  loaded, report = transfer.load_pretrained(
    file(tmp_path, flat), MLP, like, allow="block_1"
  )
  scale = loaded["params"]["encoder"]["blocks"]["norm"]["scale"]
  np.testing.assert_array_equal(scale[1], np.full(4, 7))
  np.testing.assert_array_equal(
    scale[2], np.float32(stacked["encoder"]["blocks"]["norm"]["scale"][2])
  )
  assert report.missing == ("params/encoder/block_1/norm/scale",)


def test_optional_layers_may_be_missing_or_skipped(
  folder, tmp_path, monkeypatch
):
  family = published.FAMILY._replace(optional="^params/stem/norm/")
  monkeypatch.setitem(TABLE, "test", family)
  model, variables = published.resnet()
  params = {**variables["params"], "stem": {**variables["params"]["stem"]}}
  del params["stem"]["norm"]
  _, report = transfer.load_pretrained(
    folder, model, {**variables, "params": params}
  )
  assert set(report.skipped) == {"bn1.weight", "bn1.bias"}
  arrays = arrays_of(folder)
  del arrays["bn1.weight"]
  path = file(tmp_path, arrays)
  loaded, report = transfer.load_pretrained(path, model, zeros(variables))
  assert set(report.reinitialized) == {"params/stem/norm/scale"}
  equal(loaded["params"]["head"], variables["params"]["head"])
  arrays["bn1.weight"] = np.ones(3, np.float32)
  refused(file(tmp_path, arrays), "the shape [4] of params/stem/norm/scale")


def test_image_channels_other_than_three_are_written(tmp_path, monkeypatch):
  model, variables = published.resnet(channels=1)
  transfer.save_pretrained(tmp_path, model, variables, channels=1)
  _, loaded = transfer.from_pretrained(tmp_path)
  equal(loaded, variables)
  transfer.save_pretrained(tmp_path, model, variables)
  equal(transfer.from_pretrained(tmp_path)[1], variables)
  with pytest.raises(UserError, match="expected channels=1"):
    transfer.save_pretrained(tmp_path, model, variables, channels=3)
  timm = published.FAMILY._replace(
    describe=lambda model: {
      **published.FAMILY.describe(model),
      "model_args": {"a": 1},
    },
    inputs=FAMILIES["timm/resnet"].inputs,
    describe_inputs=FAMILIES["timm/resnet"].describe_inputs,
  )
  monkeypatch.setitem(TABLE, "test", timm)
  transfer.save_pretrained(tmp_path, model, variables, channels=1)
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["model_args"] == {"a": 1, "in_chans": 1}


def test_the_first_family_that_can_express_a_model_is_default_family(
  monkeypatch,
):
  def refuse(model):
    raise UserError("no such model")

  model, _ = published.resnet()
  refusing = published.FAMILY._replace(describe=refuse)
  monkeypatch.setattr(
    selection,
    "FAMILIES",
    {"first": refusing, "second": published.FAMILY},
  )
  assert transfer.default_family(model) == "second"
  assert (
    transfer.default_family(models.create("mlp", num_classes=2)) == "dlcore"
  )

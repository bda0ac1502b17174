"""Filters and feature maps: the kept arrays and their section."""

import numpy as np
import pytest

from dlcore import report_arrays
from dlcore.report import page, run


def features(channels=3, layers=6):
  normal = np.random.default_rng(0).normal
  maps = {f"conv_{i}": normal(size=(5, 7, 20)) for i in range(layers)}
  image = np.full((9, 9, channels), 200, np.uint8)
  return report_arrays.features(image, normal(size=(3, 3, channels, 80)), maps)


def page_and_remarks(tmp_path, arrays):
  (tmp_path / "assets").mkdir()
  np.savez(tmp_path / "assets/features.npz", **arrays)
  content = run.read(tmp_path)
  return page.page(content), content.remarks


def test_a_few_layers_from_the_first_to_the_last_are_kept():
  arrays = features()
  paths = [name for name in arrays if name.startswith("maps/")]
  assert paths == [f"maps/conv_{i}" for i in (0, 2, 3, 5)]
  assert all(arrays[path].shape == (16, 5, 7) for path in paths)
  assert arrays["filters"].shape == (64, 3, 3, 3)
  assert {array.dtype for array in arrays.values()} == {np.dtype(np.uint8)}


def test_zero_is_the_middle_of_a_filter_and_a_map_uses_its_whole_range():
  kernel = np.array([-1.0, 0.0, 0.5, 0.0]).reshape(2, 2, 1, 1)
  ramp = np.arange(6.0).reshape(2, 3, 1) - 50
  flat = np.full((2, 3, 1), np.nan)
  image = np.zeros((4, 4, 1), np.uint8)
  arrays = report_arrays.features(image, kernel, {"a": ramp, "b": flat})
  assert arrays["filters"].ravel().tolist() == [0, 128, 191, 128]
  assert arrays["maps/a"].ravel().tolist() == [0, 51, 102, 153, 204, 255]
  assert not arrays["maps/b"].any()


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_the_page_shows_every_kept_picture(tmp_path, channels):
  arrays = features(channels, layers=2)
  text, remarks = page_and_remarks(tmp_path, arrays)
  assert not remarks
  assert "Filters and feature maps" in text
  # The input, 64 filters, and 16 maps of each of two layers.
  assert text.count("<img") == 1 + 64 + 2 * 16


@pytest.mark.parametrize(
  "change",
  [
    {"filters": np.zeros((2, 3, 3), np.uint8)},
    {"image": np.zeros((2, 3, 3), np.float32)},
    {"maps/conv_0": np.zeros((5000, 2, 2), np.uint8)},
    {"maps/conv_0": np.zeros((0, 2, 2), np.uint8)},
    {"maps/conv_0": np.array([[["<script>"]]])},
  ],
)
def test_an_array_that_is_not_a_picture_is_omitted_with_a_remark(
  tmp_path, change
):
  text, remarks = page_and_remarks(tmp_path, {**features(), **change})
  assert "Filters and feature maps" not in text
  assert len(remarks) == 1
  assert "features.npz is omitted" in remarks[0]


def test_unknown_arrays_are_omitted_with_a_remark(tmp_path):
  extra = {"attention": np.zeros(3)}
  text, remarks = page_and_remarks(tmp_path, {**features(), **extra})
  assert "Filters and feature maps" in text
  assert remarks == ("features.npz: unknown arrays are omitted: attention",)

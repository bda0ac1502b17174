"""Axes have few round ticks wherever the values lie; curves keep means."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from dlcore.report import axes, curve_reader, png, run

RANDOM = np.random.default_rng(0)
RANGES = [
  (low, low + width)
  for low in (-7.3e8, -1.0, 0.0, 1e-7, 0.013, 99.5, 12345.0)
  for width in (1e-6, 0.03, 1.0, 7.7, 640.0, 1e9)
  if width > 1e-9 * abs(low)
]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_ticks_are_few_round_even_and_within(low, high):
  ticks = np.array(axes.nice_ticks(low, high))
  steps = np.diff(ticks)
  margin = 1e-5 * (high - low)
  assert 2 <= len(ticks) <= 10
  assert low - margin <= ticks.min() <= ticks.max() <= high + margin
  assert np.allclose(steps, steps[0], rtol=1e-3)
  assert f"{steps.mean():.0e}"[0] in "125"


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_an_axis_contains_all_values_and_has_distinct_tick_labels(low, high):
  values = np.array([low, high])
  for axis in (
    axes.linear_axis(values),
    axes.linear_axis(values, tight=True),
  ):
    positions = axis.position(values)
    assert -1e-6 <= positions[0] < positions[1] <= 1 + 1e-6
    if high - low > 1e-2 * abs(low):
      assert len({axis.format(tick) for tick in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize("ratio", [1.0, 3.0, 50.0, 1e4, 1e12])
@pytest.mark.parametrize("low", [1e-12, 0.02, 1.0, 700.0])
def test_a_logarithmic_axis_contains_all_values(low, ratio):
  axis = axes.log_axis(np.array([low, low * ratio]))
  positions = axis.position(np.array([low, low * ratio]))
  assert -1e-9 <= positions[0] <= positions[1] <= 1 + 1e-9
  assert 2 <= len(axis.ticks) <= 12
  assert np.allclose(axis.position(np.array([axis.low, axis.high])), [0, 1])


@pytest.mark.parametrize("value", [0.0, 1e-3, -5.0, 1e20, 1e-25])
def test_a_constant_gets_an_axis(value):
  axis = axes.linear_axis(np.array([value, value]))
  assert axis.low < value < axis.high or axis.low < axis.high
  assert len(axis.ticks) >= 2


@pytest.mark.parametrize(
  ("step", "value", "text"),
  [
    (200, 1000, "1,000"),
    (1000, 20000, "20k"),
    (5e6, 1.5e7, "15M"),
    (0.05, 0.1, "0.10"),
    (1e-6, 3e-6, "3e-6"),
    (1, 0, "0"),
  ],
)
def test_ticks_are_short(step, value, text):
  assert axes.tick_formatter(step)(value) == text


def test_a_long_curve_is_averaged_over_buckets(tmp_path):
  values = RANDOM.normal(size=4000)
  lines = [{"step": i, "loss": value} for i, value in enumerate(values)]
  text = "\n".join(json.dumps(line) for line in lines)
  (tmp_path / "metrics.jsonl").write_text(text)
  curve = run.read(tmp_path).curves["loss"]["train"]
  assert len(curve.steps) == curve_reader.MAX_POINTS
  assert np.isclose(curve.values.mean(), values.mean())
  assert np.all(np.diff(curve.steps) > 0)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1, 4)])
def test_png_is_lossless(shape):
  pixels = RANDOM.integers(0, 256, shape, np.uint8)
  body = png.data_uri(pixels).partition(",")[2]
  with Image.open(io.BytesIO(base64.b64decode(body))) as image:
    assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("shape", [(8, 8, 1), (500, 224, 3), (97, 3, 2)])
def test_thumbnails_are_small_and_keep_the_mean(shape):
  image = RANDOM.integers(0, 256, shape, np.uint8)
  small = png.thumbnail(image)
  assert max(small.shape[:2]) <= png.MAX_SIDE
  assert abs(float(small.mean()) - float(image.mean())) < 3

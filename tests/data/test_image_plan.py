"""The config of own images: a pure function of numbers, sizes and a budget."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from dlcore import data, experiment, models
from dlcore.data.images.image_summary import ImageSummary, summarize_images
from dlcore.errors import UserError
from dlcore.experiment import defaults, image_run_time

CONFIG = Path(__file__).parents[2] / "configs" / "images.py"
IMAGES = runpy.run_path(str(CONFIG))
DEFAULT = IMAGES["get_config"]().to_dict()


def _summary(size=1000, shape=(64, 64, 3), **fields):
  num_files = round(size / 0.72)
  values = {
    "valid_size": round(size / 9),
    "num_files": num_files,
    "stored_pixels": num_files * shape[0] * shape[1],
    "num_classes": 10,
    "task": "classification",
  }
  return ImageSummary(size=size, shape=shape, **{**values, **fields})


def _seconds(images, leaves):
  """Returns the time of reading, steps and evaluations, by the constants."""
  side = leaves.get("data.image_size")
  shape = (side, side, images.shape[2]) if side else images.shape
  width = leaves["model.stages"][0][0]
  forward = IMAGES["forward_seconds"](images, shape, DEFAULT, width)
  batch_size = leaves["data.batch_size"]
  example = 3 * forward + image_run_time.PIXEL_SECONDS * shape[0] * shape[1]
  steps = leaves["training.epochs"] * images.size / batch_size
  step = batch_size * example + image_run_time.STEP_SECONDS
  evaluations = steps // leaves["training.eval_every"]
  test_size = images.num_files - images.size - images.valid_size
  evaluated = (1 + evaluations) * images.valid_size + test_size
  reading = images.num_files * image_run_time.read_seconds(images)
  return steps * step + evaluated * forward + reading


@pytest.mark.parametrize("size", [50, 1_000, 100_000])
@pytest.mark.parametrize("side", [1, 8, 28, 64, 224])
def test_a_plan_keeps_its_budget_and_builds_a_model(size, side):
  images = _summary(size, (side, side, 3))
  leaves = IMAGES["decide"](images, DEFAULT, 180.0)
  assert leaves == IMAGES["decide"](images, DEFAULT, 180.0)
  assert leaves["training.epochs"] <= IMAGES["MOST_EPOCHS"]
  # Epochs are rounded to a hundredth, and evaluations to whole steps.
  assert (
    _seconds(images, leaves) < (180.0 - image_run_time.START_SECONDS) * 1.02
  )
  chosen = leaves.get("data.image_size", side)
  assert chosen >= min(side, 32)
  assert 2 ** (len(leaves["model.stages"]) - 1) <= chosen
  assert chosen > 4 or not leaves["data.augment.shift"]


@pytest.mark.parametrize("side", [8, 28, 64])
def test_the_operations_of_the_network_are_those_of_its_trace(side):
  images = _summary(5_000, (side, side, 3))
  leaves = IMAGES["decide"](images, DEFAULT, 1e6)
  stages = leaves["model.stages"]
  settings = {k: v for k, v in DEFAULT["model"].items() if k != "name"}
  model = models.create("cnn", **{**settings, "stages": stages}, num_classes=10)
  image = jax.ShapeDtypeStruct((1, *images.shape), "float32")
  counted, _ = image_run_time.count_operations(stages, 3, images.shape)
  # Without the output layer.
  assert counted == pytest.approx(models.flops(model, image), rel=0.01)


def test_more_minutes_make_more_steps_or_larger_images():
  images = _summary(20_000, (224, 224, 3))
  short, long = (
    IMAGES["decide"](images, DEFAULT, seconds) for seconds in (100.0, 10_000.0)
  )
  assert short["data.image_size"] < long.get("data.image_size", 224)
  assert IMAGES["LEAST_EPOCHS"] <= long["training.epochs"]


def test_reading_takes_its_share_once_or_at_every_use():
  small = _summary(20_000, (64, 64, 3))
  large = small._replace(stored_pixels=small.num_files * 1000 * 1000)
  settings = {"forward": 1e-4, "batch_size": 64, "seconds": 1e3}
  settings["evaluations"] = 20

  def count(images, **more):
    return image_run_time.count_epochs(images, images.shape, **settings, **more)

  assert count(large) == count(small)
  assert count(large, streamed=True) < count(small, streamed=True)
  assert count(small, streamed=True) < count(small)
  plans = [
    IMAGES["decide"](images, DEFAULT, 180.0) for images in (small, large)
  ]
  assert plans[0]["training.epochs"] > plans[1]["training.epochs"]


def test_only_color_images_are_mirrored():
  color, gray = (
    IMAGES["decide"](_summary(shape=(64, 64, c)), DEFAULT, 180.0)
    for c in (3, 1)
  )
  assert color["data.augment.flip"]
  assert "data.augment.flip" not in gray


def test_weights_that_take_too_long_to_train_are_frozen():
  config = IMAGES["get_config"]("pretrained").to_dict()
  images = _summary(2_000, (224, 224, 3))
  decide = IMAGES["decide"]
  few, many = (
    decide(images, config, seconds, pretrained=True)
    for seconds in (180.0, 100_000.0)
  )
  assert "optim.freeze" in few
  assert "optim.freeze" not in many
  assert not any(key.startswith("model.") for key in few)
  small = decide(_summary(60, (28, 28, 3)), config, 180.0, pretrained=True)
  assert small["data.image_size"] == 128


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_the_task_follows_from_the_labels(task):
  leaves = IMAGES["decide"](_summary(task=task), DEFAULT, 180.0)
  assert leaves["task.name"] == task
  assert leaves["training.best_by"] == "-loss"


@pytest.mark.parametrize("variant", ["min", "0min", "0.1min", "3", "pretrain"])
def test_another_variant_is_refused(variant):
  with pytest.raises(UserError, match="expected a variant"):
    IMAGES["get_config"](variant)


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """Sixty color images of two classes and several sizes."""
  monkeypatch.setenv("DLCORE_CACHE", str(tmp_path / "cache"))
  random = np.random.default_rng(0)
  for i in range(60):
    path = tmp_path / "own" / "ab"[i % 2] / f"{i}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = random.integers(0, 256, (20 + i % 3, 24, 3), np.uint8)
    Image.fromarray(pixels).save(path)
  return tmp_path / "own"


def _read(folder, overrides=None, variant=""):
  overrides = {"data.path": str(folder), **(overrides or {})}
  return experiment.read_config(
    f"{CONFIG}{variant}", overrides, near=CONFIG.parent
  )[0]


def test_the_summary_is_that_of_the_loaded_data(folder):
  config = _read(folder)
  summary = summarize_images(config["data"])
  own = defaults.own_settings(config["data"], "data")
  train, valid, _ = data.load("image_folder", **own)
  assert abs(summary.size - train.size) <= 2
  assert abs(summary.valid_size - valid.size) <= 2
  assert summary.num_files == 60
  assert summary.stored_pixels == 60 * 21 * 24
  assert summary.shape == train.info.inputs["image"][0]
  assert summary.num_classes == 2


def test_a_plan_is_repeated_and_the_command_line_prevails(folder):
  plain = _read(folder)
  assert plain == _read(folder)
  assert plain["training"]["epochs"] == 400
  changed = _read(
    folder,
    {
      "training.epochs": "7",
      "data.batch_size": "8",
      "data.augment.rotate": "3",
      "model.stages": "((4,),)",
    },
    ":1min",
  )
  assert changed["training"]["epochs"] == 7
  assert changed["data"]["batch_size"] == 8
  assert changed["data"]["augment"]["rotate"] == 3
  assert changed["model"]["stages"] == ((4,),)
  other = _read(folder, {"model.name": "resnet20"})
  assert other["model"]["name"] == "resnet20"


def test_without_a_path_the_plan_is_empty():
  config, name = experiment.read_config(
    f"{CONFIG}:10min", {}, near=CONFIG.parent
  )
  assert config["training"]["epochs"] == DEFAULT["training"]["epochs"]
  assert name == "images_10min"


def test_a_recipe_for_one_data_set_warns_of_another(folder, caplog):
  overrides = {"data.name": "image_folder", "data.path": str(folder)}
  digits = CONFIG.parent / "digits_cnn.py"
  experiment.read_config(str(digits), overrides, near=CONFIG.parent)
  assert "recipe for the data set 'digits'" in caplog.text
  caplog.clear()
  _read(folder)
  assert "recipe" not in caplog.text

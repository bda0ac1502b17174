"""The config of own images: a pure function of numbers, sizes and a budget."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcore import data, experiment
from dlcore.data.images.image_summary import ImageSummary, summarize_images
from dlcore.errors import UserError
from dlcore.experiment import defaults

CONFIG = Path(__file__).parents[2] / "configs" / "images.py"
IMAGES = runpy.run_path(str(CONFIG))
DEFAULT = IMAGES["get_config"]().to_dict()


def _summary(size=1000, shape=(64, 64, 3), **fields):
  values = {
    "stored_size": min(shape[:2]),
    "num_classes": 10,
    "task": "classification",
  }
  return ImageSummary(size=size, shape=shape, **{**values, **fields})


def _seconds(images, leaves, passes=3):
  """Returns the time of the steps by the constants of the config."""
  config = {**DEFAULT, "model": {**DEFAULT["model"]}}
  side = leaves.get("data.image_size")
  shape = (side, side, images.shape[2]) if side else images.shape
  width = leaves["model.stages"][0][0]
  flops = IMAGES["forward_flops"](images, shape, config, width)
  batch_size = leaves["data.batch_size"]
  step = passes * flops * batch_size / IMAGES["FLOPS_PER_SECOND"]
  steps = leaves["training.epochs"] * images.size / batch_size
  return steps * max(step, IMAGES["STEP_SECONDS"])


@pytest.mark.parametrize("size", [50, 1_000, 100_000])
@pytest.mark.parametrize("side", [1, 8, 28, 64, 224])
def test_a_plan_keeps_its_budget_and_builds_a_model(size, side):
  images = _summary(size, (side, side, 3))
  leaves = IMAGES["decide"](images, DEFAULT, 165.0)
  assert leaves == IMAGES["decide"](images, DEFAULT, 165.0)
  assert leaves["training.epochs"] <= 100
  # Epochs are rounded to a hundredth.
  assert _seconds(images, leaves) < 165.0 * 1.02
  chosen = leaves.get("data.image_size", side)
  assert chosen >= min(side, 32)
  assert 2 ** (len(leaves["model.stages"]) - 1) <= chosen
  assert leaves["data.augment.shift"] < chosen if side < 96 else True


@pytest.mark.parametrize("side", [8, 28, 64])
def test_the_operations_of_the_network_are_those_of_its_trace(side):
  images = _summary(5_000, (side, side, 3))
  leaves = IMAGES["decide"](images, DEFAULT, 1e6)
  model = {**DEFAULT["model"], "stages": leaves["model.stages"]}
  traced = IMAGES["model_flops"](tuple(model.items()), images.shape, 10)
  width = leaves["model.stages"][0][0]
  counted = IMAGES["forward_flops"](images, images.shape, DEFAULT, width)
  assert counted == pytest.approx(traced, rel=0.01)  # Without the output layer.


def test_more_minutes_make_more_steps_or_larger_images():
  images = _summary(20_000, (224, 224, 3))
  short, long = (
    IMAGES["decide"](images, DEFAULT, seconds) for seconds in (100.0, 10_000.0)
  )
  assert short["data.image_size"] < long.get("data.image_size", 224)
  assert IMAGES["EPOCHS"][0] <= long["training.epochs"]


def test_photos_and_drawings_are_augmented_differently():
  photos = _summary(shape=(64, 64, 3), stored_size=3024)
  icons = _summary(shape=(64, 64, 3))
  digits = _summary(shape=(112, 112, 1))
  flips = [
    "data.augment.flip" in IMAGES["decide"](images, DEFAULT, 165.0)
    for images in (photos, icons, digits)
  ]
  assert flips == [True, False, False]


def test_weights_that_take_too_long_to_train_are_frozen():
  config = IMAGES["get_config"]("pretrained").to_dict()
  images = _summary(2_000, (224, 224, 3))
  decide = IMAGES["decide"]
  few, many = (
    decide(images, config, seconds, pretrained=True)
    for seconds in (165.0, 100_000.0)
  )
  assert "optim.freeze" in few
  assert "optim.freeze" not in many
  assert not any(key.startswith("model.") for key in few)
  small = decide(_summary(60, (28, 28, 3)), config, 165.0, pretrained=True)
  assert small["data.image_size"] == 128


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_the_task_follows_from_the_labels(task):
  leaves = IMAGES["decide"](_summary(task=task), DEFAULT, 165.0)
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
  train = data.load("image_folder", **own).train
  assert abs(summary.size - train.size) <= 2
  assert summary.shape == train.info.inputs["image"][0]
  assert summary.num_classes == 2


def test_a_plan_is_repeated_and_the_command_line_prevails(folder):
  plain = _read(folder)
  assert plain == _read(folder)
  assert plain["training"]["epochs"] == 100
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

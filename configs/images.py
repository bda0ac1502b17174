"""Your own images: a convolutional network that follows from the data.

  experiments/train.py --config=configs/images.py --config.data.path=DIR
  experiments/train.py --config=configs/images.py:10min ...
  experiments/train.py --config=configs/images.py:pretrained ...

DIR holds a folder of images for every class, or train/, valid/ and test/ with
such folders, or a table of file names and labels: see `data.image_folder`.

Size, augmentation, network and number of steps follow from the number and the
sizes of the images and a budget of minutes, by default 3: `plan`, a pure
function of the headers of the files. Its decision is part of
config.json. A run takes at most that long, the first reading of the files
included, on two cores of AMD EPYC (AVX-512), and makes the same steps on every
machine. A setting on the command line prevails.

Color images are mirrored at random. Where left and right differ, as in
characters, set --config.data.augment.flip=False.

`:pretrained` fine-tunes a ResNet-18 with published weights (hf:, which needs
the extra `hub`), or those in --config.init.source=PATH. Where the budget is
short, only the output layer is trained.
"""

import itertools
import logging
import math
import re

from dlcore import experiment
from dlcore.data.images.image_summary import ImageSummary, summarize_images
from dlcore.errors import UserError
from dlcore.experiment import image_run_time as run_time

MINUTES = 3.0

LEAST_SHARE = 0.25
"""Of the budget, for steps and evaluations even if reading takes the rest."""

EVALUATIONS = 20
"""Of the validation split, in a run."""

SIZES = (224, 192, 160, 128, 96, 80, 64, 48, 32)
"""Rows and columns that are chosen if the budget does not suffice for more."""

LEAST_EPOCHS, MANY_EPOCHS, MOST_EPOCHS = 6, 100, 400
EXAMPLES = 30_000
"""Few images get more than the least epochs, until `EXAMPLES` have been seen.
Where the budget does not suffice, the network becomes narrower, then the images
smaller. More than `MANY_EPOCHS` are for those who have not seen as many."""

WIDTHS = (32, 24, 16)
"""Channels of the first stage of the network; each further one has twice."""

PLANNED = {"data.batch_size": 32, "training.epochs": 30.0}
"""Values that `plan` replaces; others are those of the command line."""

SMALL = 1000
"""Images below which few are held out: their loss chooses the checkpoint."""

PUBLISHED = 128
"""Least rows and columns for published weights, which had 224."""

WEIGHTS = "hf:microsoft/resnet-18"
ALL_BUT_HEAD = "^(?!head)"


def get_config(variant=""):
  """Returns the config; a variant is a budget, "pretrained", or both."""
  _, pretrained = parse_variant(variant)
  cnn = {"name": "cnn", "pool": "mean", "dense": (), "dropout": 0.2}
  return experiment.config(
    data={
      "name": "image_folder",
      "batch_size": PLANNED["data.batch_size"],
      "channels": 3 if pretrained else 0,
    },
    model={"name": "resnet18"} if pretrained else cnn,
    init={"source": WEIGHTS if pretrained else ""},
    task={"label_smoothing": 0.1},
    optim={
      "name": "adamw",
      "learning_rate": 1e-3 if pretrained else 3e-3,
      "weight_decay": 0.05,
      "schedule": {"name": "warmup_cosine", "warmup": 0.2, "initial": 0.04},
    },
    training={"epochs": PLANNED["training.epochs"], "best_by": "accuracy"},
  )


def parse_variant(variant):
  """Returns minutes, and whether to begin with published weights."""
  minutes, pretrained = MINUTES, False
  for word in filter(None, variant.split("-")):
    match = re.fullmatch(r"(\d{1,5}(?:\.\d+)?)min", word)
    if match and 60 * float(match[1]) > run_time.START_SECONDS:
      minutes = float(match[1])
    elif word == "pretrained":
      pretrained = True
    else:
      raise UserError(
        "expected a variant such as 3min, pretrained or pretrained-10min",
        f"got {variant!r}",
      )
  return minutes, pretrained


def plan(config, variant):
  """Returns the settings that follow from the images, by path."""
  data = config["data"]
  if data["name"] != "image_folder" or not (data["path"] or data["train"]):
    return {}  # Loading reports a missing path.
  minutes, pretrained = parse_variant(variant)
  images = summarize_images(data)
  if not images.size:
    return {}  # Likewise.
  if data["limit"]:
    images = images._replace(size=min(images.size, data["limit"]))
  leaves = decide(images, config, 60 * minutes, pretrained)
  logging.getLogger("dlcore").info(
    "%d training images of %s, %d classes: %s", images.size,
    "x".join(map(str, images.shape)), images.num_classes,
    ", ".join(f"{key}={value}" for key, value in leaves.items()),
  )  # fmt: skip
  return leaves


def decide(images: ImageSummary, config, seconds, pretrained=False):
  """Returns the settings for such images, by path; a pure function.

  Args:
    images: numbers and sizes.
    config: the complete config, with the overrides of the command line.
    seconds: of the whole run, on two cores.
    pretrained: whether the run begins with published weights.
  """
  batch_size = choose_batch_size(images, config)
  shape, width, frozen, epochs = choose_size(
    images, config, batch_size, seconds, pretrained
  )
  leaves = {"data.batch_size": batch_size}
  if frozen:
    leaves["optim.freeze"] = ALL_BUT_HEAD
  if shape != images.shape:
    leaves["data.image_size"] = shape[0]
  if config["training"]["epochs"] == PLANNED["training.epochs"]:
    leaves["training.epochs"] = round(epochs, 2)
  epochs = leaves.get("training.epochs", config["training"]["epochs"])
  steps = config["training"]["steps"] or epochs * images.size / batch_size
  leaves["training.ema"] = round(min(max(0.5, 1 - 20 / steps), 0.999), 4)
  leaves["training.eval_every"] = max(1, int(steps / EVALUATIONS))
  if images.task != "classification":
    leaves["task.name"] = images.task
  if images.task != "classification" or images.size < SMALL:
    leaves["training.best_by"] = "-loss"
  sections = {
    "model": choose_network(shape, config, width),
    "data.augment": choose_augmentation(shape),
  }
  for section, values in sections.items():
    leaves |= {f"{section}.{key}": value for key, value in values.items()}
  return leaves


def choose_size(images, config, batch_size, seconds, pretrained):
  """Returns shape and width, whether to freeze, and the number of epochs.

  They are the first of the candidates with the least number of epochs.
  """
  reading = images.num_files * run_time.read_seconds(images)
  seconds = max(
    seconds - run_time.START_SECONDS - reading, LEAST_SHARE * seconds
  )
  wanted = EXAMPLES / images.size
  least = min(max(LEAST_EPOCHS, wanted), MOST_EPOCHS)
  shapes = candidate_shapes(images, config, PUBLISHED * pretrained)
  candidates = itertools.product(
    shapes, WIDTHS, (False, True) if pretrained else (False,)
  )
  for shape, width, frozen in candidates:
    size = images.num_files * math.prod(shape)
    epochs = run_time.count_epochs(
      images, shape, batch_size=batch_size, seconds=seconds,
      forward=forward_seconds(images, shape, config, width),
      evaluations=EVALUATIONS, frozen=frozen,
      streamed=size > config["data"]["in_memory_limit"],
    )  # fmt: skip
    if epochs >= least:
      break
  epochs = min(max(epochs, 0.01), max(MANY_EPOCHS, least))
  return shape, width, frozen, epochs


def choose_batch_size(images, config):
  """Returns about 1% of the images, 16 to 64, or half of very few.

  The number of training images is known to an image for each class.
  """
  if config["data"]["batch_size"] != PLANNED["data.batch_size"]:
    return config["data"]["batch_size"]
  size = 16 if images.size < 500 else 32 if images.size < 4000 else 64
  return max(1, min(size, images.size // 2))


def candidate_shapes(images, config, least):
  """Returns the shape of the images, and smaller ones, [Y, X, C].

  Images below `least` rows and columns are enlarged.
  """
  side, channels = min(images.shape[:2]), images.shape[2]
  if config["data"]["image_size"]:
    return [images.shape]
  smaller = [size for size in SIZES if max(least, 1) <= size < side]
  first = images.shape if side >= least else (least, least, channels)
  return [first, *((size, size, channels) for size in smaller)]


def choose_network(shape, config, width):
  """Returns stages down to about 8 rows, the first of `width` channels."""
  if config["model"]["name"] != "cnn":
    return {}
  side = min(shape[:2])
  depth = 1 + math.ceil(math.log2(max(side, 1) / 8))
  depth = max(1, min(max(depth, 2), 5, int(math.log2(max(side, 1))) + 1))
  stages = [(width * 2**stage,) * 2 for stage in range(depth)]
  if side > 24:  # The first convolution of a large image takes the most time.
    stages[0] = (width,)
  return {"stages": tuple(stages)}


def choose_augmentation(shape):
  """Returns what color images bear, or, of digits and drawings, small moves."""
  side = min(shape[:2])
  if shape[2] == 3 and side > 4:
    return {
      "flip": True, "resized_crop": 0.4, "brightness": 0.2, "contrast": 0.2
    }  # fmt: skip
  return {"shift": max(1, side // 12) if side > 4 else 0, "rotate": 10.0,
          "scale": 0.15}  # fmt: skip


def forward_seconds(images, shape, config, width):
  """Returns the time of a forward pass of one image [Y, X, C]."""
  model = config["model"]
  if stages := choose_network(shape, config, width).get("stages"):
    return run_time.cnn_seconds(stages, model["kernel_size"], shape)
  pixels = shape[0] * shape[1] / (images.shape[0] * images.shape[1])
  return pixels * run_time.model_seconds(
    tuple(model.items()), max(images.num_classes, 1), images.shape
  )

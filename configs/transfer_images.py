"""Fine-tunes weights of an image model on your own images.

experiments/train.py --config=configs/transfer_images.py --workdir=runs/mine \
  --config.init.source=WEIGHTS --config.data.path=DIR

WEIGHTS is a run of dlcore, a published folder with config.json and safetensors,
or hf:ORG/NAME. Model, image size and normalization are those of the weights;
the output layer is a new one. DIR holds a folder of images for every class: see
`data.image_folder`; other data sets are --config.data.name=NAME.

First the new layer is trained, then everything at rates that fall towards the
input. --config.init.strategy=NAME is another strategy: head, full, last_n,
gradual, layerwise, lora, bitfit or l2sp, see `transfer.STRATEGIES`. With
scratch, the same model begins with random weights: the baseline.
"""

from dlcore import experiment

RATES = {
  "bitfit": 5e-3,
  "full": 2e-3,
  "gradual": 5e-2,
  "head": 5e-2,
  "l2sp": 2e-3,
  "last_n": 2e-3,
  "layerwise": 2e-3,
  "lora": 1e-2,
  "scratch": 5e-3,
}
"""Learning rates of strategies; a new layer alone has a larger one."""

PLAN = experiment.Plan(
  batch_size=32,
  epochs=10.0,
  examples=6000,
  learning_rate=1e-2,
  rates=RATES,
)

MIRRORED = {"flip": True, "resized_crop": 0.5}
MOVED = {"rotate": 10.0, "scale": 0.1}
"""Augmentations of color images, and of gray ones such as digits."""


def get_config(variant=""):
  """Returns the config that `plan` completes."""
  experiment.no_variant(variant)
  return experiment.config(
    data={"name": "image_folder", "batch_size": PLAN.batch_size},
    model={"name": "resnet18"},
    init={
      "head": "reinitialized",
      "strategy": {"name": "fine_tune", "rate": 0.1},
    },
    optim={
      "name": "adamw",
      "learning_rate": PLAN.learning_rate,
      "weight_decay": 0.05,
      "schedule": {"name": "warmup_cosine", "warmup": 0.1},
    },
    training={"epochs": PLAN.epochs},
  )


def plan(config, variant):
  """Returns the settings that follow from weights and images, by path."""
  del variant
  leaves, train = experiment.follow_source(
    config, experiment.image_settings, "configs/images.py"
  )
  if train is None:
    return leaves
  is_color = train.info.inputs["image"][0][-1] == 3
  augmentation = MIRRORED if is_color else MOVED
  leaves |= {f"data.augment.{k}": value for k, value in augmentation.items()}
  return leaves | PLAN.leaves(config, train.size)

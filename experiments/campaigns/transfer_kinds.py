"""A small run of strategies of transfer, which campaigns disturb."""

from children import Kind

WEIGHTS = {
  "init.source": "tests/runs_v0_1/cnn_export",
  "init.head": "reinitialized",
  "model.name": "cnn",
  "model.stages": ((4,),),
  "model.batch_norm": True,
  "model.dense": (8,),
  "data.batch_size": 48,
  "data.augment.shift": 0,
  "data.augment.rotate": 0.0,
  "data.augment.scale": 0.0,
}
"""Published weights of images of the size of digits."""

AUGMENTED = {**WEIGHTS, "data.augment.shift": 1}

TRANSFER: dict[str, Kind] = {
  "transfer: head, cached features": Kind(
    {**WEIGHTS, "init.strategy.name": "head"}
  ),
  "transfer: fine_tune, cached features": Kind(
    {**WEIGHTS, "init.strategy.name": "fine_tune"}
  ),
  "transfer: gradual": Kind(
    {
      **AUGMENTED,
      "init.strategy.name": "gradual",
      "init.strategy.number": 2,
      "training.ema": 0.9,
    }
  ),
  "transfer: setfit": Kind({**WEIGHTS, "init.strategy.name": "setfit"}),
  "transfer: lora": Kind(
    {**AUGMENTED, "init.strategy.name": "lora", "init.strategy.dropout": 0.2}
  ),
  "transfer: lora, int8": Kind(
    {
      **AUGMENTED,
      "init.strategy.name": "lora",
      "init.strategy.base": "int8",
      "init.strategy.dora": True,
    }
  ),
}
"""By the phases, and the frozen weights that checkpoints do not hold."""

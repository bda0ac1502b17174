"""The summary of an experiment: layers, parameters, FLOPs, data, schedule."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import backend, models
from dlcore.errors import UserError
from dlcore.experiment.build import Experiment, build
from dlcore.experiment.qualification import qualify
from dlcore.host_memory import binary_size

BARS = "▁▂▃▄▅▆▇█"


def summary(config: Mapping[str, Any]) -> str:
  """Returns the summary of an experiment, many lines."""
  experiment = build(config)
  info = experiment.splits.train.info
  sizes = ", ".join(
    f"{source.size:,} {name}" for name, source in experiment.sources().items()
  )
  example = _example(experiment)
  inputs = models.example_inputs(experiment.model, example)
  with qualify("model", config["model"]):
    layers = models.summary(experiment.model, *inputs)
  note = ""
  if inputs[0] != example:
    note = f" (the model reads tokens, here {inputs[0].shape[1]})"
  return "\n".join(
    [
      layers,
      *_published(config["model"]["name"]),
      "",
      f"data      {info.name}: {sizes}{note}",
      f"steps     {experiment.steps:,} of {config['data']['batch_size']}",
      *_rate(experiment),
      *_memory(experiment),
    ]
  )


def _example(experiment: Experiment) -> jax.ShapeDtypeStruct:
  """Returns the shape and dtype of one input as the model receives it."""
  info = experiment.splits.train.info
  shape, dtype = info.inputs[info.schema.input]
  tokens = np.issubdtype(dtype, np.integer) and len(shape) == 1
  return jax.ShapeDtypeStruct((1, *shape), jnp.int32 if tokens else jnp.float32)


def _rate(experiment: Experiment) -> list[str]:
  """Returns a plot of the learning rate and its extremes."""
  points = np.linspace(0, max(experiment.steps - 1, 0), 60).astype(int)
  rates = np.array([float(experiment.learning_rate(step)) for step in points])
  heights = rates / max(rates.max(), 1e-30) * (len(BARS) - 1)
  return [
    f"rate      {''.join(BARS[round(height)] for height in heights)}",
    f"          {rates[0]:.3g} at first, {rates.max():.3g} at most, "
    f"{rates[-1]:.3g} at last",
  ]


def _memory(experiment: Experiment) -> list[str]:
  """Returns the estimate of the memory, and the free memory."""
  try:
    memory = experiment.memory()
  except UserError as error:  # The model does not train on this data.
    return [f"memory    unknown: {error.lines[0]}"]
  fits = "" if memory.needed <= memory.free else ", which is too little"
  return [
    f"memory    about {memory}",
    f"          of {binary_size(memory.free)}{fits}; {backend.allocator()}",
  ]


def _published(name: str) -> list[str]:
  """Returns the published size of a model, one line if there is any."""
  if name not in models.PUBLISHED:
    return []
  paper, parameters, settings = models.PUBLISHED[name]
  fields = ", ".join(f"{key}={value!r}" for key, value in settings.items())
  source = f"arXiv:{paper}" if paper[0].isdigit() else paper
  return [f"{parameters:,} parameters are published, for {fields} ({source})"]

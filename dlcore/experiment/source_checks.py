"""Checks that the weights of `init.source` are of the kind of a config."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dlcore import data, models
from dlcore.errors import UserError
from dlcore.experiment.folder import RunFolder

IMAGES, TEXTS, NUMBERS = "images", "texts", "numbers"
"""Inputs of models."""

CONFIGS = {
  IMAGES: "use configs/transfer_images.py",
  TEXTS: "use configs/transfer_text.py or configs/transfer_lm.py",
  NUMBERS: "choose other weights",
}
"""Remedy for weights of another kind, by the inputs of their model."""


def check_run(run: RunFolder, source: str, expected: str) -> None:
  """Checks the inputs of the model of a run.

  Args:
    run: the folder.
    source: the setting `init.source`.
    expected: IMAGES or TEXTS.

  Raises:
    UserError: it has other ones.
  """
  config, info = run.config(), run.info()
  if info.schema.vocab_size:
    inputs = TEXTS
  else:
    inputs = IMAGES if "image" in info.inputs else NUMBERS
  got = f"the run {source!r} of the model {config['model']['name']!r}"
  task = config["task"]["name"]
  _check_inputs(inputs, f"{got} and the task {task!r}", expected)


def check_published(
  model: Any, examples: tuple[Any, ...], source: str, expected: str
) -> None:
  """Checks the inputs of a published model.

  Args:
    model: the module.
    examples: of its inputs.
    source: the setting `init.source`.
    expected: IMAGES or TEXTS.

  Raises:
    UserError: it has other ones.
  """
  example = examples[0]
  is_text = np.issubdtype(example.dtype, np.integer)
  inputs = TEXTS if is_text else IMAGES if example.ndim == 4 else NUMBERS
  _check_inputs(inputs, f"{type(model).__name__} in {source!r}", expected)


def check_language_model(run: RunFolder, source: str, head: str) -> None:
  """Checks that the model of a run can predict the next token.

  Args:
    run: the folder.
    source: the setting `init.source`.
    head: of the model that continues the training.

  Raises:
    UserError: it cannot.
  """
  config = run.config()
  section, task = config["model"], config["task"]["name"]
  if "head" in section:
    is_fit = _accepts_head(section, head)
  else:
    is_fit = isinstance(run.info().schema, data.CorpusSchema)
  if is_fit:
    return
  raise UserError(
    "expected weights of a model that predicts the next token in init.source",
    f"got the run {source!r} of the model {section['name']!r} and the task "
    f"{task!r}",
    "use configs/transfer_text.py, or choose another run",
  )


def _check_inputs(inputs: str, got: str, expected: str) -> None:
  if inputs != expected:
    raise UserError(
      f"expected weights of a model of {expected} in init.source",
      f"got {got}, with inputs of {inputs}",
      CONFIGS[inputs],
    )


def _accepts_head(section: Mapping[str, Any], head: str) -> bool:
  """Returns whether the model of a section `model` may have another head."""
  fields = {**section, "head": head, "vocab_size": 1}
  model = models.create(fields.pop("name"), **fields)
  init = functools.partial(model.init, train=False)
  try:
    jax.eval_shape(init, jax.random.key(0), np.zeros((1, 1), np.int32))
  except (TypeError, UserError):  # The former of a model of two inputs.
    return False
  return True

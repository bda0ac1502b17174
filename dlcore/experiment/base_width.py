"""The factors of `optim.width_scaling`, from the model and its narrow base."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dlcore import data, optim, trees
from dlcore.errors import UserError
from dlcore.experiment.example_inputs import example_inputs
from dlcore.experiment.overrides import override
from dlcore.experiment.task_building import build_task


def width_scales(
  config: Mapping[str, Any], info: data.DataInfo
) -> dict[str, optim.Scale]:
  """Returns the factors of the parameters of a model, `{}` without scaling.

  Args:
    config: the complete tree. `optim.width_scaling` has the settings of the
      base model, `"model.width=64 model.num_heads=2"`.
    info: of train.

  Raises:
    UserError: the text is wrong, the models differ in more than their widths,
      or the optimizer has no factors.
  """
  text = config["optim"]["width_scaling"]
  if not text:
    return {}
  own = {**config, "optim": {**config["optim"], "width_scaling": ""}}
  base = override(own, _settings(text))
  models = [build_task(tree, info) for tree in (own, base)]
  _check_heads(*(model for model, _ in models))
  parameters = (_parameters(task, info) for _, task in models)
  return optim.width_scales(*parameters, config["optim"]["name"])


def _settings(text: str) -> dict[str, str]:
  """Returns the settings of the base model by path.

  Raises:
    UserError: an item is no setting of the model.
  """
  settings = {}
  for item in text.split():
    path, _, value = item.partition("=")
    if not path.startswith("model.") or not value:
      raise UserError(
        "expected optim.width_scaling to be settings of the base model",
        f"got {item!r}",
        "such as 'model.width=64 model.num_heads=2', without blanks in values",
      )
    settings[path] = value
  return settings


def _parameters(task: Any, info: data.DataInfo) -> dict[str, optim.Parameter]:
  """Returns shapes and deviations of the initial parameters, by path."""
  init = jax.jit(lambda key: task.init(key, example_inputs(info))[0])
  params = jax.device_get(init(jax.random.key(0)))
  return {
    path: optim.Parameter(leaf.shape, float(np.std(leaf)))
    for path, leaf in trees.flatten(params).items()
  }


def _check_heads(model: Any, base: Any) -> None:
  """Checks that heads keep their size, and that no array has two roles.

  Raises:
    UserError: they do not.
  """
  sizes = [_head_size(one) for one in (model, base)]
  if sizes[0] != sizes[1]:
    raise UserError(
      "expected attention heads of the same size in the base model, for "
      "optim.width_scaling",
      f"got {sizes[0]} and {sizes[1]}",
      "let num_heads grow with the width",
    )
  if getattr(model, "tie_embeddings", False):
    raise UserError(
      "expected an output layer of its own, for optim.width_scaling",
      "got tied embeddings",
      "set model.tie_embeddings=False",
    )


def _head_size(model: Any) -> float | None:
  """Returns the size of a head, None for models without attention."""
  heads, width = (getattr(model, k, None) for k in ("num_heads", "width"))
  if not heads or not width:
    return None
  return getattr(model, "head_dim", 0) or width / heads

"""The updates of kernels in the parameters of `tasks.lora`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.transfer import stacked_blocks
from dlcore.transfer.peft import model_modules
from dlcore.transfer.peft.layouts import Update
from dlcore.typing import Params


def updates(
  adapters: Params, leaves: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Update]:
  """Returns the updates by the paths of their kernels.

  Args:
    adapters: the parameters at the key "adapters".
    leaves: variables of the model by path.
    arrays: the same without scanned blocks.

  Raises:
    UserError: a convolution of scanned blocks has an adapter, or the adapters
      are not those of the variables.
  """
  flat = trees.flatten({"params": adapters})
  places = {path.rpartition("/")[0] for path in flat}
  for place in places:
    if place in leaves and stacked_blocks.STACKED.search(place):
      raise UserError(
        "expected adapters of dense layers in scanned blocks",
        f"got one of {place}",
        model_modules.MERGE,
      )
    if not {place, place + model_modules.KERNEL} & leaves.keys():
      raise UserError(
        "expected the variables of the task with these adapters",
        f"got none at {place}",
        "pass tasks.variables(task, state)",
      )
  parts: dict[str, dict[str, np.ndarray]] = {}
  for path, array in stacked_blocks.unstack(flat).items():
    place, _, part = path.rpartition("/")
    kernel = place if place in arrays else place + model_modules.KERNEL
    parts.setdefault(kernel, {})[part] = np.asarray(array, np.float32)
  return {path: Update(**own) for path, own in parts.items()}


def rank(adapters: Params) -> int:
  """Returns the rank of the adapters of a task."""
  flat = trees.flatten(adapters)
  return next(x.shape[-1] for path, x in flat.items() if path.endswith("/a"))

"""Checkpoints of dlcore 0.1, which can be read but not continued."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ITEM = "state"
"""Name of the Orbax item, which holds one flat state with the decisions."""

RENAMED = {"extra": "model_state", "optimizer": "opt_state"}


def is_version_0_1(step_folder: Path) -> bool:
  """Returns whether dlcore 0.1 wrote the checkpoint in `step_folder`."""
  return (step_folder / ITEM).is_dir()


def convert(tree: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the state of version 0.1 as `{"state": ..., "decisions": ...}`."""
  state = {RENAMED.get(name, name): value for name, value in tree.items()}
  decisions = state.pop("decided", {})
  # Dropout and label smoothing as collections: the config has them too.
  model_state = dict(state.pop("model_state", {}))
  model_state.pop("settings", None)
  average = state.pop("ema", {})
  return {
    "state": {
      **state,
      "model_state": model_state,
      "average": {"params": average} if average else {},
    },
    "decisions": decisions,
  }

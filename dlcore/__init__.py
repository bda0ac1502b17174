"""A JAX codebase of pure functions for deep learning research."""

from typing import Any

__version__ = "0.2.0"


def load(workdir: Any, *, step: int | None = None) -> Any:
  """Returns the predictor of a run, see `dlcore.experiment.predictor`.

  `load("runs/digits_cnn").predict("image.png")` returns a list of predictions;
  `.evaluate("test")` returns metrics.
  """
  from dlcore import experiment  # Late: `import dlcore` imports no JAX.

  return experiment.load(workdir, step=step)

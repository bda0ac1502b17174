"""The model of a run as it is exported."""

from typing import Any

from dlcore.errors import UserError
from dlcore.experiment.restoring import RestoredRun


def exported_model(run: RestoredRun) -> tuple[Any, int | None]:
  """Returns the module of a run and its image channels, None without images.

  Raises:
    UserError: the run has no module.
  """
  if run.model is None:
    raise UserError(
      f"expected a Linen module in the parts of {run.folder.path}",
      "got none",
      "return experiment.Parts(task, splits, model)",
    )
  shape, _ = run.info.inputs[run.info.schema.input]
  model, is_image = run.model, len(shape) == 3
  if is_image and getattr(model, "image_size", None) == 0:
    model = model.clone(image_size=tuple(shape[:2]))
  return model, shape[-1] if is_image else None

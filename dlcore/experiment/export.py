"""Out of dlcore: what a run has learned, for others to load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import tasks, transfer
from dlcore.errors import UserError, lookup
from dlcore.experiment.build import build_task, parameters
from dlcore.experiment.folder import RunFolder
from dlcore.task import Task
from dlcore.typing import Array, Extra, Params


def export(
  workdir: str | Path,
  form: str,
  output: str | Path,
  *,
  family: str = "",
  step: int | None = None,
) -> str:
  """Writes the best (or given) checkpoint of a run in another format.

  Args:
    workdir: the run folder; nothing else is needed.
    form: "safetensors" writes a folder with config.json and
      model.safetensors in published names, see `transfer.save_pretrained`;
      "stablehlo" a file with the prediction function, see `transfer.lowered`.
    output: the folder or file to write.
    family: in whose names; by default those that such models have.
    step: which checkpoint; None for the best.

  Returns:
    What was written, in words.

  Raises:
    UserError: the folder is no run, or the output cannot be written.
  """
  write = lookup(FORMATS, form, "format")
  folder = RunFolder(workdir)
  config, about = folder.config(), folder.about()
  model, task = build_task(config, about)
  restored = folder.restored(folder.step(step))
  params, extra = parameters(task, about, restored, folder.path)
  run = _Run(config, about, model, task, params, extra)
  return write(run, Path(output), family)


class _Run(NamedTuple):
  """A run that is built again, with its parameters."""

  config: Mapping[str, Any]
  about: Mapping[str, Any]
  model: Any
  task: Task
  params: Params
  extra: Extra


def _safetensors(run: _Run, output: Path, family: str) -> str:
  is_image, shape = run.about["input"] == "image", run.about["shape"]
  model = run.model
  if getattr(model, "image_size", None) == 0:
    model = model.clone(image_size=tuple(shape[:2]))
  family = family or transfer.preferred(model)
  if family == transfer.OWN:
    about = _own(run)
  else:  # Other libraries than transformers have no place for labels.
    about = {} if "/" in family else _labels(run.about)
  transfer.save_pretrained(
    output,
    model,
    {"params": run.params, **tasks.supervised.collections(run.extra)},
    config=about,
    channels=shape[-1] if is_image else None,
    family=family,
  )
  return f"{output}: model.safetensors and config.json, in names of {family}"


def _own(run: _Run) -> dict[str, Any]:
  """Returns what builds a model of our own again, apart from a run."""
  section = dict(run.config["model"])
  classes = run.about.get("classes")
  section["num_classes"] = len(classes) if classes else 1
  return {"model": section, "input": run.about["shape"]}


def _labels(about: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the names of the classes as transformers has them."""
  classes = about.get("classes") or ()
  if not classes:
    return {}
  labels = dict(enumerate(classes))
  return {
    "id2label": labels,
    "label2id": {name: i for i, name in labels.items()},
  }


def _stablehlo(run: _Run, output: Path, family: str) -> str:
  if family:
    raise UserError(
      "expected no --family with stablehlo, which has no names",
      f"got {family!r}",
    )
  name, shape = run.about["input"], tuple(run.about["shape"])

  def predict(**inputs: Array) -> Any:
    return run.task.predict(run.params, run.extra, inputs, jax.random.key(0))

  example = {name: (shape, np.dtype(run.about["dtype"]))}
  data = transfer.lowered(predict, example)
  transfer.write(output, data)
  sizes = ", ".join(map(str, ("B", *shape)))
  return (
    f"{output}: {name} [{sizes}] of {run.about['dtype']} to predictions, for "
    f"{', '.join(transfer.PLATFORMS)}"
  )


FORMATS = {"safetensors": _safetensors, "stablehlo": _stablehlo}

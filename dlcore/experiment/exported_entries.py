"""Entries of exported files that follow from the task and the data of a run."""

from collections.abc import Mapping
from typing import Any

from dlcore import data, tasks
from dlcore.experiment.restoring import RestoredRun
from dlcore.transfer import target_units
from dlcore.transfer.image_preprocessing import IDENTITY, ImagePreprocessing
from dlcore.transfer.target_units import TargetUnits

CHANNELS = (1, 3)
"""Numbers of channels that image processors take."""


def task_entries(run: RestoredRun) -> dict[str, Any]:
  """Returns the entries of config.json for the outputs of the head.

  `target_normalization` makes the output layer predict the target, or its
  logarithm with the `target_transform` "log"; see `transfer.save_pretrained`.
  """
  kind = _kind(run)
  if kind is None or not kind.problem_type:
    return {}
  entries: dict[str, Any] = {"problem_type": kind.problem_type}
  if units := target_units_of(run):
    entries[target_units.ENTRY] = units._asdict()
  schema = run.info.schema
  if kind.predicts_numbers and schema.target_transform != "none":
    entries["target_transform"] = schema.target_transform
  if kind.predicts_numbers and schema.target_offset:
    entries["target_offset"] = schema.target_offset
  return entries


def target_units_of(run: RestoredRun) -> TargetUnits | None:
  """Returns the normalization of the target that a regression has learned."""
  schema = run.info.schema
  is_log = schema.target_transform == "log"
  moments = (
    schema.transformed_normalization if is_log else schema.target_normalization
  )
  if not _predicts_numbers(run) or not moments:
    return None
  return TargetUnits(float(moments["mean"]), float(moments["std"]))


def target_notes(run: RestoredRun) -> list[str]:
  """Returns sentences on the outputs of a regression in other libraries."""
  schema = run.info.schema
  if not _predicts_numbers(run):
    return []
  is_log = schema.target_transform == "log"
  unit = "the logarithm of the target" if is_log else "the target in its units"
  notes = [f"The output is {unit}."]
  if offset := schema.target_offset:  # Float32 would round the sum.
    notes.append(f"Add {offset!r} in float64, the offset of the data.")
  return notes


def with_target_notes(text: str, run: RestoredRun) -> str:
  """Returns a description of files with the sentences of `target_notes`."""
  notes = target_notes(run)
  return " ".join([f"{text}.", *notes]) if notes else text


def _predicts_numbers(run: RestoredRun) -> bool:
  kind = _kind(run)
  return kind is not None and kind.predicts_numbers


def _kind(run: RestoredRun) -> tasks.TaskKind | None:
  """Returns the kind of task, None for a run of `training.fit`."""
  return tasks.TASKS[run.config["task"]["name"]] if run.config else None


def image_preprocessing(info: data.DataInfo) -> ImagePreprocessing | None:
  """Returns the preprocessing of the images of a run.

  Returns:
    None for other inputs, and for images that no image processor reads.
  """
  schema = info.schema
  shape, dtype = info.inputs[schema.input]
  if schema.input != "image" or dtype != "uint8" or shape[-1] not in CHANNELS:
    return None
  moments: Mapping[str, Any] = schema.normalization or dict(
    zip(("mean", "std"), IDENTITY, strict=True)
  )
  return ImagePreprocessing(
    (shape[0], shape[1]),
    interpolation=getattr(schema, "interpolation", "bilinear"),
    mean=tuple(moments["mean"]),
    std=tuple(moments["std"]),
    resize=getattr(schema, "resize", "exact"),
  )

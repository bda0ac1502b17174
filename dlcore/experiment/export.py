"""Exports the model of a run for other libraries."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from dlcore import data, transfer
from dlcore.errors import UserError, lookup
from dlcore.experiment.adapter_export import write_peft
from dlcore.experiment.card_facts import read_facts
from dlcore.experiment.card_sections import SENTENCES
from dlcore.experiment.entry_settings import FROM_DATA
from dlcore.experiment.exported_entries import (
  image_preprocessing,
  target_units_of,
  task_entries,
  with_target_notes,
)
from dlcore.experiment.exported_model import exported_model
from dlcore.experiment.model_card import Written, write_card
from dlcore.experiment.restoring import RestoredRun, restore_run
from dlcore.experiment.source_settings import model_section
from dlcore.filesystem import printable
from dlcore.transfer import image_preprocessing as preprocessors
from dlcore.transfer import published_json, saving, selection, target_units
from dlcore.transfer.io import files
from dlcore.transfer.io.sources import CONFIG
from dlcore.transfer.tokenizer_export import takes_token_types
from dlcore.typing import Array


def export(
  workdir: str | Path,
  format_name: str,
  output: str | Path,
  *,
  family: str = "",
  step: int | None = None,
) -> str:
  """Writes the best checkpoint of a run, or that of a step, in another format.

  Entries of the config.json of `init.source` that describe no array, such as
  special ids, are written too. Folders get a model card, see `model_card`.

  Args:
    workdir: the run folder; nothing else is needed.
    format_name: "safetensors" writes a folder with config.json and
      model.safetensors in published names, see `transfer.save_pretrained`, and
      of an encoder of texts the other files of sentence-transformers;
      "stablehlo" a file with the prediction function, see
      `transfer.export_stablehlo`. Offsets of a table are not part of the
      function, which takes and returns float32: they are in a second file,
      `output` with `.json` added; "peft" writes a folder with the adapters of
      a run with `init.strategy=lora`, see `transfer.save_adapters`.
    output: the folder or file to write.
    family: the family of names; by default the one that such models have.
      "sentence-transformers" writes the folder of a classifier whose features
      are pooled tokens, in which that library computes the logits.
    step: the checkpoint; None for the best.

  Returns:
    A description of the files that were written.

  Raises:
    UserError: the folder is not a run, or the output cannot be written.
  """
  write = lookup(FORMATS, format_name, "format")
  run = restore_run(workdir, step)
  written = write(run, output, family)
  lines = [written.description]
  if written.library:
    facts = read_facts(run, Path(output), written.library)
    lines.append(write_card(facts, Path(output)))
  return printable("\n".join(lines))


def _write_safetensors(
  run: RestoredRun, output: str | Path, family: str
) -> Written:
  if family == SENTENCES:
    if not _is_sentence_encoder(run):
      raise UserError(
        f"expected a BERT with poolings and a tokenizer for {SENTENCES}",
        f"got {type(run.model).__name__} in {run.folder.path}",
        "leave --family out, or begin with weights that have a modules.json",
      )
    return _write_encoder(run, output)
  is_encoder = getattr(run.model, "head", None) == "embedding"
  if not family and is_encoder and _is_sentence_encoder(run):
    return _write_encoder(run, output)
  model, channels = exported_model(run)
  published = published_json.without_task(run.folder.published())
  if classes := _class_names(run.info, published.get(CONFIG, {})):
    published = published_json.without_labels(published)
  family = family or transfer.default_family(model, published)
  if family == transfer.OWN:
    settings = _own_config(run)
  else:
    settings = _labels(classes, family) if classes else {}
    settings |= task_entries(run) | _pretrained_cfg(run, family, published)
  transfer.save_pretrained(
    Path(output),
    model,
    run.task.variables(run.params, run.model_state),
    config=settings,
    channels=channels,
    family=family,
    published=published,
  )
  text = f"{output}: model.safetensors and config.json of the family {family}"
  if "/" not in family and family != transfer.OWN:
    text += _write_preprocessor(run, Path(output))
  if tokenizer := _tokenizer(run):
    schema: Any = run.info.schema
    chat = schema.chat_template() if hasattr(schema, "chat_template") else {}
    limit = getattr(model, "max_length", schema.limit)
    types = takes_token_types(model)
    transfer.save_tokenizer(
      Path(output), tokenizer, limit, token_types=types, **chat
    )
    text += ", and its tokenizer"
  if family != transfer.OWN:
    text = with_target_notes(text, run)
  return Written(text, _library(family))


def _pretrained_cfg(
  run: RestoredRun, family: str, published: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
  """Returns the entries for images of the libraries without a preprocessor."""
  preprocessing = image_preprocessing(run.info)
  if "/" not in family or preprocessing is None:
    return {}
  shape, _ = run.info.inputs[run.info.schema.input]
  before = published.get(CONFIG, {})
  before = before if selection.config_family(before) == family else {}
  own = preprocessors.to_timm(preprocessing, shape[-1])
  return {"pretrained_cfg": {**(before.get("pretrained_cfg") or {}), **own}}


def _write_preprocessor(run: RestoredRun, output: Path) -> str:
  """Writes preprocessor_config.json for images; returns a note on the file."""
  preprocessing = image_preprocessing(run.info)
  if preprocessing is None:
    return ""
  shape, _ = run.info.inputs[run.info.schema.input]
  name = preprocessors.PREPROCESSOR
  content = preprocessors.to_transformers(preprocessing, shape[-1])
  files.write(output / name, saving.encoded(name, content))
  return f", and {name}"


def _tokenizer(run: RestoredRun) -> data.LibraryTokenizer | None:
  """Returns the tokenizer of a run, if other libraries can read it."""
  tokenizer = getattr(run.info.schema, "tokenizer", None)
  target = getattr(run.info.schema, "output_tokenizer", None)
  known = isinstance(tokenizer, data.LibraryTokenizer)
  return tokenizer if known and target in (None, tokenizer) else None


def _library(family: str) -> str:
  """Returns the library of the hub that loads the names of a family."""
  if family.startswith(selection.TIMM):
    return "timm"
  return "dlcore" if family == transfer.OWN or "/" in family else "transformers"


def _is_sentence_encoder(run: RestoredRun) -> bool:
  """Returns whether sentence-transformers has the model and its tokenizer."""
  base = transfer.base_encoder(run.model)
  if base is None or not _tokenizer(run):
    return False
  return transfer.default_family(base, run.folder.published()) != transfer.OWN


def _write_encoder(run: RestoredRun, output: str | Path) -> Written:
  schema: Any = run.info.schema
  variables = run.task.variables(run.params, run.model_state)
  family = transfer.save_sentence_encoder(
    output,
    run.model,
    target_units.in_units(variables, target_units_of(run)),
    schema.tokenizer,
    max_length=schema.limit,
    published=published_json.without_task(run.folder.published()),
  )
  text = f"{output}: an encoder of the family {family} for {SENTENCES}"
  return Written(with_target_notes(text, run), SENTENCES)


def _own_config(run: RestoredRun) -> dict[str, Any]:
  """Returns the settings that rebuild a model without a family of names.

  The schema has the statistics and offsets that turn data into inputs and
  outputs into predictions, and the class names.
  """
  section = dict(run.config.get("model") or _section(run.model))
  section["num_classes"] = getattr(run.model, "num_classes", None)
  for size in FROM_DATA:
    if hasattr(run.model, size):
      section[size] = getattr(run.model, size)
  shape, _ = run.info.inputs[run.info.schema.input]
  schema = run.info.schema.to_json()
  return {"model": section, "input": list(shape), "schema": schema}


def _section(model: Any) -> dict[str, Any]:
  try:
    return model_section(model)
  except UserError as error:
    remedy = "add a row for it in a module of --import, or export "
    raise UserError(
      "expected a model of models.MODELS for the format safetensors",
      error.lines[1],
      f"{remedy}--format=stablehlo",
    ) from error


def _class_names(
  info: data.DataInfo, config: Mapping[str, Any]
) -> tuple[str, ...]:
  """Returns the class names to write, empty to keep those of the weights.

  Names that are only the numbers of the classes do not replace others. Those
  of the weights are present only if their head was loaded.

  Args:
    info: of the data.
    config: the config.json that came with the weights, or `{}`.
  """
  classes = info.schema.classes
  numbers = tuple(map(str, range(len(classes))))
  labeled = "id2label" in config or "label_names" in config
  return () if labeled and classes == numbers else classes


def _labels(classes: tuple[str, ...], family: str) -> dict[str, Any]:
  """Returns the class names in the fields of the library of a family."""
  if family.startswith("timm/"):
    return {"label_names": list(classes)}
  if "/" in family:  # The other libraries have no place for them.
    return {}
  labels = dict(enumerate(classes))
  return {
    "id2label": labels,
    "label2id": {name: i for i, name in labels.items()},
  }


def _write_stablehlo(
  run: RestoredRun, output: str | Path, family: str
) -> Written:
  if family:
    raise UserError(
      "expected no --family with stablehlo, which has no names",
      f"got {family!r}",
    )

  def predict(**inputs: Array) -> Any:
    key = jax.random.key(0)
    return run.task.predict(run.params, run.prediction_state, inputs, key)

  inputs = {
    name: (shape, jax.dtypes.canonicalize_dtype(dtype))
    for name, (shape, dtype) in run.info.inputs.items()
  }
  program = transfer.export_stablehlo(predict, inputs)
  files.write(Path(output), program)
  arguments = ", ".join(
    f"{name} {['B', *shape]} of {dtype}".replace("'", "")
    for name, (shape, dtype) in inputs.items()
  )
  platforms = ", ".join(transfer.PLATFORMS)
  text = f"{output}: {arguments} to predictions, for {platforms}"
  lines = [text, *_write_offsets(run.info.schema, f"{output}.json")]
  return Written("\n".join(lines))


def _write_offsets(schema: data.Schema, path: str) -> list[str]:
  """Writes the schema of data with offsets; returns a line about it."""
  content = schema.to_json()
  if not {"offsets", "target_offset"} & content.keys():
    return []
  files.write(Path(path), f"{json.dumps(content, indent=1)}\n".encode())
  return [
    f"{path}: the schema of the data. In float64, subtract its offsets from "
    "the columns and add its target_offset to the predictions"
  ]


FORMATS = {
  "peft": write_peft,
  "safetensors": _write_safetensors,
  "stablehlo": _write_stablehlo,
}

"""Reads the texts that a model generated as training went on."""

from pathlib import Path
from typing import Any

import numpy as np

from dlcore.filesystem.json_file import read_json

MAX_BYTES = 2**24
MAX_STEP = 2**31
MAX_STEPS, MAX_TEXTS, MAX_LENGTH = 64, 16, 2000
"""Steps, the last ones, texts of each, and characters of a text."""


def read(path: Path, remarks: list[str]) -> dict[str, np.ndarray]:
  """Returns the arrays `history_...` of `report_arrays`; empty without texts.

  Args:
    path: of the JSON file that `training.SampleHistory` writes.
    remarks: stays as it is.

  Raises:
    ValueError: the file is too large or malformed.
  """
  del remarks
  content = read_json(path, max_bytes=MAX_BYTES)
  entries = content.get("samples")
  if not isinstance(entries, list):
    raise ValueError("samples is not a list")
  if not entries:
    return {}
  prompts = _texts(content.get("prompts"))
  references = _texts(content.get("references"))
  rows = [_texts(_entry(entry, "texts")) for entry in entries[-MAX_STEPS:]]
  if not prompts or {*map(len, rows)} != {len(prompts)}:
    raise ValueError("not a text for each prompt")
  if references and len(references) != len(prompts):
    raise ValueError("not a reference for each prompt")
  return {
    "history_step": np.array([_step(e) for e in entries[-MAX_STEPS:]]),
    "history_prompt": np.array(prompts, str),
    "history_text": np.array(rows, str),
    "history_reference": np.array(references, str),
  }


def _entry(entry: Any, name: str) -> Any:
  return entry.get(name) if isinstance(entry, dict) else None


def _step(entry: Any) -> int:
  step = _entry(entry, "step")
  if type(step) is not int or not 0 <= step < MAX_STEP:
    raise ValueError(f"step is {step!r:.20}")
  return step


def _texts(value: Any) -> list[str]:
  if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
    raise ValueError("a text is not a string")
  return [text[:MAX_LENGTH] for text in value[:MAX_TEXTS]]

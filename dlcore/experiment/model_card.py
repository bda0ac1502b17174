"""The model card of an exported run, in the format of the Hugging Face hub.

https://huggingface.co/docs/hub/model-cards. The hub shows README.md as the
card, so MODEL_CARD.md is written under both names. Strings of the run folder
and of the user's data are escaped, and paths are reduced to their last part.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import dlcore
from dlcore import storage, tasks
from dlcore.experiment import card_sections, card_text
from dlcore.experiment.card_facts import CardFacts
from dlcore.transfer.io import files, sources

NAMES = ("MODEL_CARD.md", "README.md")
MAX_BYTES = 1 << 22
MARK = re.compile(rb"<!-- Written by dlcore [^ ]+, sha256 ([0-9a-f]{64}) -->\n")


class Written(NamedTuple):
  """The result of an export."""

  description: str
  library: str = ""
  """The library of the model card; empty for a format without a card."""


def write_card(facts: CardFacts, output: Path) -> str:
  """Writes the card under both names, and returns a description of the files.

  A file that dlcore did not write, or that was edited since, is kept.

  Raises:
    UserError: the folder is not writable.
  """
  content = _signed(card(facts))
  written, kept = [], []
  for name in NAMES:
    if os.path.lexists(output / name) and not _is_own(output / name):
      kept.append(name)
    else:
      files.write(output / name, content)
      written.append(name)
  lines = [f"{' and '.join(written)}: the model card"] if written else []
  lines += [f"{name}: kept, since dlcore did not write it" for name in kept]
  return "\n".join(lines)


def card(facts: CardFacts) -> str:
  """Returns the card, front matter and body."""
  front = card_text.front_matter(_front_matter(facts))
  return "\n".join([front, *card_sections.body(facts)]) + "\n"


def _front_matter(facts: CardFacts) -> dict[str, Any]:
  """Returns the metadata of the hub, with empty values where unknown."""
  metrics = dict.fromkeys(key.rpartition("/")[2] for key in facts.metrics)
  return {
    "license": facts.license,
    "library_name": facts.library,
    "base_model": _base_model(facts.source),
    "tags": list(filter(None, ["dlcore", facts.model_name, facts.strategy])),
    "pipeline_tag": _pipeline_tag(facts),
    "datasets": [] if facts.data_paths else [facts.run.info.name],
    "metrics": list(metrics),
    "model-index": _model_index(facts),
  }


def _base_model(source: str) -> str:
  """Returns `org/name` of a source on the hub, empty for others."""
  name = source.removeprefix(sources.SCHEME)
  return "" if name == source else name.partition("@")[0]


def _pipeline_tag(facts: CardFacts) -> str:
  kind = tasks.TASKS.get(facts.task_name)
  return kind.pipeline_tags.get(facts.run.info.schema.kind, "") if kind else ""


def _model_index(facts: CardFacts) -> list[dict[str, Any]]:
  """Returns the scores as the hub expects them, a result for each split."""
  kind = _pipeline_tag(facts) or facts.task_name
  if not kind:
    return []
  results = []
  for split, scores in facts.scores().items():
    name = facts.run.info.name
    results.append(
      {
        "task": {"type": kind},
        "dataset": {"name": name, "type": name, "split": split},
        "metrics": [
          {"type": metric, "value": value} for metric, value in scores.items()
        ],
      }
    )
  return [{"name": facts.name, "results": results}] if results else []


def _signed(text: str) -> bytes:
  """Returns the file of a card, with its checksum in the last line."""
  content = text.encode("utf-8", "replace")
  sha256 = hashlib.sha256(content).hexdigest()
  mark = f"<!-- Written by dlcore {dlcore.__version__}, sha256 {sha256} -->\n"
  return content + mark.encode()


def _is_own(path: Path) -> bool:
  """Returns whether a file is a card of dlcore that nobody has edited."""
  try:
    with storage.open_plain(path) as file:
      content = file.read(MAX_BYTES)
  except (OSError, ValueError):
    return False
  start = content.rfind(b"<!-- Written by dlcore ")
  match = MARK.fullmatch(content[start:]) if start >= 0 else None
  sha256 = hashlib.sha256(content[:start]).hexdigest().encode()
  return match is not None and match[1] == sha256

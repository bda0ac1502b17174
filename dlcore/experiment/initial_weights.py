"""Weights from which a run begins, in place of random ones.

Frozen parameters that came from `init.source` or `init.adapter` are not in the
checkpoints of a run: `assets/initial_weights.json` has the paths and checksums
of the weights, which are loaded again.
"""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore import transfer
from dlcore.errors import UserError
from dlcore.experiment.adaptation import loads_source
from dlcore.experiment.adapter_start import LORA, begin, checkpoints_hold
from dlcore.experiment.folder import INITIAL_WEIGHTS, PUBLISHED, RunFolder
from dlcore.experiment.qualification import qualify
from dlcore.experiment.source_license import read_license
from dlcore.experiment.vocabulary import vocabulary_size
from dlcore.task import Task
from dlcore.transfer import published_json
from dlcore.typing import Initial, ModelState, Params

INITIALIZED = "assets/initialized.json"
"""Paths of arrays that `init.source` lacks, or that `init.adapter` replaces."""

ADAPTER_SHA256 = "adapter_sha256"
"""The key of the checksum of the arrays of `init.adapter` that replace those of
the source. It is missing if the checkpoints hold them."""

VOCABULARY = r"^model\.vocab_size$"
"""The part of `allow` that adds tokens, see `transfer.load_pretrained`."""

Variables = Mapping[str, Any]

logger = logging.getLogger("dlcore")


def load_initial(
  section: Mapping[str, Any],
  model: Any,
  task: Task,
  workdir: Path,
  read_run: Callable[[Path], Variables | None],
) -> Initial | None:
  """Returns a function that loads pretrained weights, or None.

  For a run without checkpoints it also writes `assets/published.json`, which
  `export` reads, `assets/initialized.json` and `assets/initial_weights.json`.
  For other runs the weights are compared with the checksum there. A strategy
  that begins at random loads none, and only `assets/published.json` is written.

  Args:
    section: the config's section `init`.
    model: the model that `init.source` is loaded into.
    task: the task of the model.
    workdir: the run folder.
    read_run: see `restoring.variables_of_run`.
  """
  if not section["source"]:
    return None
  folder = RunFolder(workdir)
  if not loads_source(section):
    _begin_at_random(section, folder)
    return None

  def load(params: Params, model_state: ModelState):
    begun = folder.has_begun()
    record = folder.initial_weights() if begun else {}
    source = _find(section["source"], record.get("source", ""))
    adapter = _find_adapter(section, record, begun=begun)
    names = ("family", "allow", "head")
    settings = {name: section[name] for name in names}
    if vocabulary_size(source):  # `follow_vocabulary` has compared the tokens.
      allowed = filter(None, [section["allow"], VOCABULARY])
      settings["allow"] = "|".join(allowed)
    with qualify("init", section):
      run = RunFolder(Path(os.path.expanduser(source)))
      own = task.variables(params, model_state)
      variables, report = transfer.load_pretrained(
        read_run(run.path) or source, model, own, **settings
      )
      start = begin({**section, "adapter": adapter}, model, variables, task)
    params, model_state = start.initial(params, model_state)
    checksums = {"sha256": transfer.loaded_sha256(start.variables, report)}
    if adapter and not checkpoints_hold(section, start, model_state):
      checksums[ADAPTER_SHA256] = transfer.arrays_sha256(start.replaced)
    if begun:
      places = " and ".join(filter(None, [source, adapter]))
      sources = {"sha256": places, ADAPTER_SHA256: adapter}
      _check_same(checksums, record, sources, workdir)
    else:
      for line in str(report).splitlines():
        logger.info("%s", line)
      # A source that is a run passes on the files with which it began.
      folder.write_json(PUBLISHED, report.published or run.published())
      random = [*report.reinitialized, *report.missing, *start.replaced]
      folder.write_json(INITIALIZED, {"paths": random})
      content = {"source": _absolute(source), **checksums}
      if adapter:
        content["adapter"] = _absolute(adapter)
      is_run = run.checkpoints.is_dir()
      # A run passes on the license of the weights with which it began.
      known = run.initial_weights().get("license") if is_run else None
      if stated := known or (not is_run and read_license(source)):
        content["license"] = stated
      folder.write_json(INITIAL_WEIGHTS, content)
    return params, model_state

  return load


def _find_adapter(
  section: Mapping[str, Any], record: Mapping[str, Any], *, begun: bool
) -> str:
  """Returns the folder of PEFT to read; empty if the checkpoints hold it."""
  trains = section["strategy"]["name"] == LORA
  if begun and trains and ADAPTER_SHA256 not in record:
    return ""
  return _find(section["adapter"], record.get("adapter", ""))


def _begin_at_random(section: Mapping[str, Any], folder: RunFolder) -> None:
  """Logs that no weights are loaded, and keeps the files that describe them.

  The special ids are those of the tokenizer, which is that of the weights. The
  class names are not: the output layer is a new one.
  """
  if folder.has_begun():
    return
  source, name = section["source"], section["strategy"]["name"]
  logger.info("init.strategy=%s: random weights, not those of %s", name, source)
  run = RunFolder(Path(os.path.expanduser(source)))
  is_run = run.checkpoints.is_dir()
  published = run.published() if is_run else transfer.read_published(source)
  folder.write_json(PUBLISHED, published_json.without_labels(published))


def _absolute(source: str) -> str:
  """Returns the path of a source for other working directories."""
  path = os.path.expanduser(source)
  return os.path.abspath(path) if os.path.exists(path) else source


def _find(source: str, recorded: str) -> str:
  """Returns the source of the config, or its recorded path if that exists."""
  moved = not os.path.exists(os.path.expanduser(source))
  return recorded if moved and os.path.exists(recorded) else source


def _check_same(
  checksums: Mapping[str, str],
  record: Mapping[str, Any],
  sources: Mapping[str, str],
  workdir: Path,
) -> None:
  """Checks that the weights of a run are those with which it began.

  Args:
    checksums: of the weights that were loaded, by the key of the record.
    record: the content of `assets/initial_weights.json`. A run of an older
      version has no checksum of the arrays of `init.adapter`.
    sources: where the weights are, by the key of the record.
    workdir: the run folder.

  Raises:
    UserError: they differ.
  """
  for key, sha256 in checksums.items():
    expected = str(record.get(key, sha256 if key == ADAPTER_SHA256 else None))
    if sha256 != expected:
      raise UserError(
        f"expected the weights with which the run in {workdir} began, with the "
        f"sha256 {expected[:12]}",
        f"got other ones in {sources[key]}, with the sha256 {sha256[:12]}",
        "put them back, or train in another --workdir",
      )

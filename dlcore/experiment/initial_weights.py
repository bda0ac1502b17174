"""Weights from which a run begins, in place of random ones."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore import transfer
from dlcore.experiment.adapter_start import begin
from dlcore.experiment.folder import PUBLISHED, RunFolder
from dlcore.experiment.qualification import qualify
from dlcore.task import Task
from dlcore.typing import ModelState, Params

INITIALIZED = "assets/initialized.json"
"""Paths of arrays that `init.source` lacks, or that `init.adapter` replaces."""

logger = logging.getLogger("dlcore")


def load_initial(
  section: Mapping[str, Any], model: Any, task: Task, workdir: Path
) -> Callable[[Params, ModelState], tuple[Params, ModelState]] | None:
  """Returns a function that loads pretrained weights, or None.

  It also writes `assets/published.json` and `assets/initialized.json`, which
  `export` reads.

  Args:
    section: the config's section `init`.
    model: the model that `init.source` is loaded into.
    task: the task of the model.
    workdir: the run folder.
  """
  if not section["source"]:
    return None

  def load(params: Params, model_state: ModelState):
    names = ("family", "allow", "head")
    settings = {name: section[name] for name in names}
    with qualify("init", section):
      own = task.variables(params, model_state)
      variables, report = transfer.load_pretrained(
        section["source"], model, own, **settings
      )
      for line in str(report).splitlines():
        logger.info("%s", line)
      start, replaced = begin(section, model, variables, task)
    # A source that is a run passes on the files with which it began.
    source = RunFolder(Path(os.path.expanduser(section["source"])))
    published = report.published or source.published()
    RunFolder(workdir).write_json(PUBLISHED, published)
    initialized = [*report.reinitialized, *report.missing, *replaced]
    RunFolder(workdir).write_json(INITIALIZED, {"paths": initialized})
    return start(params, model_state)

  return load

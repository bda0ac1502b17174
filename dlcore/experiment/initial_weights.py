"""Weights from which a run begins, in place of random ones."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore import transfer
from dlcore.experiment.folder import PUBLISHED, RunFolder
from dlcore.experiment.qualification import qualify
from dlcore.task import merge_frozen
from dlcore.typing import ModelState, Params

logger = logging.getLogger("dlcore")


def load_initial(
  section: Mapping[str, Any], model: Any, workdir: Path
) -> Callable[[Params, ModelState], tuple[Params, ModelState]] | None:
  """Returns a function that loads pretrained weights, or None.

  It also writes `assets/published.json`, which `export` reads.

  Args:
    section: the config's section `init`.
    model: the model that `init.source` is loaded into.
    workdir: the run folder.
  """
  if not section["source"]:
    return None

  def load(params: Params, model_state: ModelState):
    settings = {key: section[key] for key in section if key != "source"}
    with qualify("init", section):
      variables, report = transfer.load_pretrained(
        section["source"], model, merge_frozen(params, model_state), **settings
      )
    for line in str(report).splitlines():
      logger.info("%s", line)
    # A source that is a run passes on the files with which it began.
    source = RunFolder(Path(os.path.expanduser(section["source"])))
    published = report.published or source.published()
    RunFolder(workdir).write_json(PUBLISHED, published)
    return transfer.initial(variables)(params, model_state)

  return load

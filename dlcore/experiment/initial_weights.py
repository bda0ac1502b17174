"""Weights from which a run begins, in place of random ones."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dlcore import transfer
from dlcore.experiment.folder import PUBLISHED, RunFolder
from dlcore.experiment.qualification import qualify
from dlcore.task import FROZEN, merge_frozen
from dlcore.trees import flatten, nest
from dlcore.typing import ModelState, Params

log = logging.getLogger("dlcore")


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
      log.info("%s", line)
    # A source that is a run passes on the files with which it began.
    source = RunFolder(Path(section["source"]).expanduser())
    published = report.published or source.published()
    RunFolder(workdir).write_json(PUBLISHED, published)
    return split_variables(params, model_state, variables)

  return load


def split_variables(
  params: Params, model_state: ModelState, variables: Mapping[str, Any]
) -> tuple[Params, ModelState]:
  """Returns `variables` of a model in the structure of a task's.

  Args:
    params: of the task, maybe abstract; the paths that are trained.
    model_state: of the task; the other collections.
    variables: `{"params": ..., **collections}`, of the model.
  """
  trained = flatten(params).keys()
  flat = flatten(variables["params"])
  others = {k: tree for k, tree in variables.items() if k != "params"}
  new_state = {**model_state, **others}
  if FROZEN in model_state:
    new_state[FROZEN] = nest({k: flat[k] for k in flat.keys() - trained})
  return nest({k: flat[k] for k in trained}), new_state

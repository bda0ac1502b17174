"""The facts of a run that its model card states."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlcore.experiment import card_text
from dlcore.experiment.adaptation import loads_source
from dlcore.experiment.defaults import own_settings
from dlcore.experiment.restoring import RestoredRun
from dlcore.experiment.source_license import checked
from dlcore.report import run as run_reader
from dlcore.report.json_values import as_mapping, as_number, as_numbers

PATHS = ("path", "train", "valid", "test")
"""Settings of data that name files of the user."""


class CardFacts(NamedTuple):
  """A run, as it is exported."""

  run: RestoredRun
  record: run_reader.Run
  """The content of the folder, of which nothing is trusted."""

  output: Path
  library: str

  @property
  def name(self) -> str:
    """The name of the run folder."""
    return Path(os.path.realpath(self.run.folder.path)).name or "run"

  @property
  def model_name(self) -> str:
    """The name in `models.MODELS`, or of the class."""
    section = as_mapping(self.run.config.get("model"))
    return str(section.get("name") or type(self.run.model).__name__)

  @property
  def task_name(self) -> str:
    """The kind of task, empty for a run of `training.fit`."""
    return str(as_mapping(self.run.config.get("task")).get("name") or "")

  @property
  def strategy(self) -> str:
    """The strategy of a run with `init.source`, else empty."""
    if not self.run.config or not self.run.config["init"]["source"]:
      return ""
    return self.run.config["init"]["strategy"]["name"]

  @property
  def strategy_settings(self) -> dict[str, Any]:
    """The settings of the strategy."""
    section = self.run.config["init"]["strategy"]
    own = own_settings(section, "init.strategy")
    return {key: value for key, value in own.items() if key != "name"}

  @property
  def source(self) -> str:
    """The weights of `init.source` with which the run began.

    It is the recorded path, or that of the config in a run of an older version.
    """
    section = self.run.config["init"] if self.run.config else {"source": ""}
    if not loads_source(section):
      return ""
    return self.run.folder.initial_weights().get("source") or section["source"]

  @property
  def initial_weights(self) -> Mapping[str, str]:
    """The record of the weights with which the run began."""
    return self.run.folder.initial_weights() if self.source else {}

  @property
  def is_classifier(self) -> bool:
    """Whether the model has an output layer of classes or a number."""
    return getattr(self.run.model, "head", None) == "classifier"

  @property
  def license(self) -> str:
    """The license of the initial weights, empty if it is not known."""
    return checked(self.initial_weights.get("license"))

  @property
  def data_paths(self) -> dict[str, str]:
    """The last parts of the paths of the user's data, by setting."""
    section = as_mapping(self.run.config.get("data"))
    paths = {key: section.get(key) for key in PATHS}
    return {
      key: card_text.base_name(str(value))
      for key, value in paths.items()
      if value
    }

  @property
  def training(self) -> Mapping[str, Any]:
    """The section `training` of the config, also of a run of `fit`."""
    return as_mapping(self.record.config.get("training"))

  @property
  def is_finished(self) -> bool:
    """Whether the run has made its last step."""
    return self.record.summary.get("finished") is True

  @property
  def has_scores(self) -> bool:
    """Whether the scores of the summary are those of the exported step."""
    best = as_number(self.record.summary.get("best_step"))
    return self.is_finished and best == self.run.step

  @property
  def metrics(self) -> dict[str, float]:
    """The scores of the exported checkpoint, by `split/name`.

    Those of the summary are of its best checkpoint. Without them the validation
    in the log is taken.
    """
    if not self.has_scores:
      return self._logged()
    values = as_numbers(self.record.summary.get("metrics"))
    return {key: value for key, value in values.items() if math.isfinite(value)}

  def scores(self) -> dict[str, dict[str, float]]:
    """Returns the scores by split and metric."""
    result: dict[str, dict[str, float]] = {}
    for key, value in self.metrics.items():
      split, _, metric = key.rpartition("/")
      result.setdefault(split or "all", {})[metric] = value
    return result

  def _logged(self) -> dict[str, float]:
    found = {}
    for metric, by_split in self.record.curves.items():
      for split, curve in by_split.items():
        values = curve.values[curve.steps == self.run.step]
        if split.partition("/")[0] == "valid" and len(values):
          found[f"{split}/{metric}"] = float(values[-1])
    return found


def read_facts(run: RestoredRun, output: Path, library: str) -> CardFacts:
  """Returns the facts of a run; malformed files of its folder are omitted."""
  record = run_reader.read(run.folder.path, with_arrays=False)
  return CardFacts(run, record, output, library)

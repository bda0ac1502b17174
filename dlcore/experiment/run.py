"""What the scripts do: train in a run folder, and evaluate it."""

import logging
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

import dlcore
from dlcore import data, models, report, tasks, trees
from dlcore.errors import UserError, lookup
from dlcore.experiment.build import Experiment, build, parameters
from dlcore.experiment.folder import RunFolder
from dlcore.training import Phases, integrity
from dlcore.typing import Extra, Params

TOLD = ("step", "best_step", "parameters", "seconds", "examples_per_second")
"""The numbers of a summary that the terminal shows."""

PREDICTIONS = "assets/predictions.npz"
FEATURES = "assets/features.npz"

log = logging.getLogger("dlcore")


def train(
  config: Mapping[str, Any],
  workdir: str | Path,
  *,
  progress: bool = True,
  phases: Phases | None = None,
) -> dict[str, Any]:
  """Trains what a complete `config` says, or goes on, or finds it finished.

  The test split is looked at once, after the last step, with the checkpoint
  that the validation split has named the best.

  Args:
    config: the whole tree, see `complete`.
    workdir: the run folder.
    progress: whether to show progress on standard error.
    phases: adds up where the time goes.

  Returns:
    The content of `summary.json`.

  Raises:
    UserError: what the user can mend.
    Stopped: a signal came, and the state was saved.
  """
  phases = phases or Phases()
  folder = RunFolder(workdir)
  with folder.locked():
    folder.claim(config)
    with phases("data"):
      experiment = build(config)
    sources = _splits(experiment)
    folder.describe(
      experiment.splits.train.about,
      {name: _sums(source) for name, source in sources.items()},
    )
    made = folder.made()
    if finished := _finished(folder, experiment.steps, made):
      if not integrity.intact(folder.path, integrity.LOG):
        log.warning(
          "%s is not as the run wrote it: lines are changed or missing",
          folder.path / integrity.LOG,
        )
      if not (folder.path / "report.html").exists():
        report.write(folder.path)
      return finished
    if made > experiment.steps:
      raise UserError(
        f"expected training.steps of at least {made}, which the run in "
        f"{folder.path} has made",
        f"got {experiment.steps}",
        "choose another --workdir, or take the change back",
      )
    phases.seconds["start"] = phases.total() - phases.seconds["data"]
    state = experiment.fit(folder.path, progress=progress, phases=phases)
    with phases("evaluation"):
      result = _final(folder, experiment)
    batch_size = config["data"]["batch_size"]
    made = folder.made()
    summary = {
      "step": made,
      **result,
      "parameters": trees.count(state.params),
      "seconds": phases.total(),
      "examples_per_second": phases.steps * batch_size / _busy(phases),
      "phases": dict(phases.seconds),
      "versions": _versions(),
      "devices": _device_names(experiment.devices),
      "finished": True,
      "stopped_early": made < experiment.steps,
    }
    folder.write("summary.json", summary)
    with phases("report"):
      report.write(folder.path)
    return summary


def evaluate(
  workdir: str | Path, split: str = "test", step: int | None = None
) -> dict[str, Any]:
  """Returns the metrics of a run's best (or given) checkpoint on a split.

  Args:
    workdir: the run folder; nothing else is needed but the data.
    split: `"train"`, `"valid"` or `"test"`.
    step: which checkpoint; None for the best.

  Returns:
    `{"split", "step", metric: value, ...}`.

  Raises:
    UserError: there is no such split or step, or the data has changed.
  """
  lookup(dict.fromkeys(data.Splits._fields), split, "split")
  folder = RunFolder(workdir)
  chosen = folder.step(step)
  config, about = folder.config(), folder.about()
  if split not in about["splits"]:
    raise UserError(
      f"expected a split of the run: {', '.join(about['splits'])}",
      f"got {split!r}, which its data does not have",
    )
  restored = folder.restored(chosen)
  experiment = build(config)
  params, extra = parameters(experiment.task, about, restored, folder.path)
  source = _splits(experiment)[split]
  folder.compare_sums({split: _sums(source)})
  values = experiment.evaluator(source)(params, extra)
  return {"split": split, "step": chosen, **values}


def _splits(experiment: Experiment) -> dict[str, data.Source]:
  pairs = experiment.splits._asdict().items()
  return {name: source for name, source in pairs if source is not None}


def _sums(source: data.Source) -> dict[str, Any]:
  return {key: source.about.get(key) for key in ("size", "sha256")}


def _finished(
  folder: RunFolder, steps: int, made: int
) -> dict[str, Any] | None:
  """Returns the summary of a run that has made its last step, or None.

  Where it, the predictions or the last checkpoint are broken they are made
  again.

  Args:
    folder: of the run.
    steps: of the whole run.
    made: the newest good step.
  """
  if not (folder.path / "summary.json").exists():
    return None
  for name in (PREDICTIONS, FEATURES):
    if not integrity.intact(folder.path, name):
      log.warning("made again: %s, which was damaged", folder.path / name)
      return None
  try:
    summary = folder.read("summary.json")
  except UserError as error:
    log.warning("made again: %s", "; ".join(error.lines[:2]))
    return None
  numbers = [summary.get(name) for name in TOLD]
  metrics = summary.get("metrics")
  whole = all(isinstance(number, int | float) for number in numbers)
  whole = whole and isinstance(metrics, dict)
  early = summary.get("stopped_early") is True
  done = summary.get("finished") and (early or summary.get("step") == steps)
  kept = not folder.begun() or made == summary.get("step")
  return summary if done and whole and kept else None


def _final(folder: RunFolder, experiment: Experiment) -> dict[str, Any]:
  """Evaluates the best step on validation and test, keeps its predictions."""
  best = folder.step()
  params, extra = parameters(
    experiment.task,
    experiment.splits.train.about,
    folder.restored(best),
    folder.path,
  )
  metrics = {}
  for split in ("valid", "test"):
    source = getattr(experiment.splits, split)
    if source is None:
      continue
    evaluator = experiment.evaluator(source)
    values = evaluator(params, extra)
    metrics |= {f"{split}/{name}": value for name, value in values.items()}
    if split == "test" or experiment.splits.test is None:
      arrays = _predictions(split, source, evaluator.predict(params, extra))
      folder.write_arrays(PREDICTIONS, arrays)
      if arrays := _features(experiment, source, params, extra):
        folder.write_arrays(FEATURES, arrays)
  return {"best_step": best, "metrics": metrics}


def _predictions(
  split: str, source: data.Source, rows: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns what the report shows of the predictions on a split."""
  target, name = source.about["target"], source.about["input"]
  true = _column(source, target)

  def read(indices: np.ndarray) -> np.ndarray:
    return source.read(indices)[name]

  if "probabilities" in rows:
    return report.predictions.classification(
      split, true, rows["probabilities"], read
    )
  return report.predictions.regression(split, true, rows["prediction"], read)


def _features(
  experiment: Experiment, source: data.Source, params: Params, extra: Extra
) -> dict[str, np.ndarray]:
  """Returns what the report shows of convolutions: none without images."""
  name = source.about["input"]
  if name != "image":
    return {}
  image = source.read(np.zeros(1, np.int32))[name]
  inputs = tasks.supervised.make_inputs(name, source.about["normalization"])
  maps = models.feature_maps(
    experiment.model,
    {"params": params, **tasks.supervised.collections(extra)},
    inputs({name: image}),
  )
  if not maps:
    return {}
  kernel = trees.flatten(params)[f"{next(iter(maps))}/kernel"]
  rows = {path: np.asarray(rows[0]) for path, rows in maps.items()}
  return report.features.arrays(image[0], np.asarray(kernel), rows)


def _column(source: data.Source, name: str) -> np.ndarray:
  """Returns one array of a source, whole."""
  if source.arrays is not None:
    return source.arrays[name]
  steps = range(0, source.size, 512)
  ranges = [np.arange(at, min(at + 512, source.size)) for at in steps]
  return np.concatenate([source.read(chosen)[name] for chosen in ranges])


def _busy(phases: Phases) -> float:
  """Returns the seconds spent on steps and on feeding them."""
  return max(phases.seconds["step"] + phases.seconds["feed"], 1e-9)


def _versions() -> dict[str, str]:
  names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
  return {
    "dlcore": dlcore.__version__,
    "python": platform.python_version(),
    **{name: metadata.version(name) for name in names},
  }


def _device_names(devices: Sequence[jax.Device]) -> str:
  return f"{len(devices)} x {devices[0].device_kind}"

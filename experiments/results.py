"""Writes the results into README.md and the docstrings of configs/.

  results.py

The numbers are those in experiments/results/; each table names the command that
measures them.
"""

import json
import re
import statistics
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from tables import of_models
from tables.markdown import as_table, is_ratio, measured, ratio

from dlcore import command, optim
from dlcore.errors import UserError
from dlcore.models import PUBLISHED
from dlcore.report import estimates

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: experiments/results.py -->", "<!-- end -->"
README = flags.DEFINE_string("readme", str(ROOT / "README.md"), "the file")
CONFIGS = flags.DEFINE_string("configs", str(ROOT / "configs"), "the folder")


def main():
  """Replaces the results of the README, and the figures of the configs."""
  path = Path(README.value)
  text = path.read_text()
  if BEGIN not in text or END not in text:
    raise UserError(f"expected the markers {BEGIN} and {END} in {path}")
  before, rest = text.split(BEGIN)
  _, after = rest.split(END)
  tables = [
    table(result) for name, table in TABLES.items() if (result := _read(name))
  ]
  tables.append(of_models.models(PUBLISHED, _read("parity"), _read("peers")))
  body = "\n\n".join(tables)
  path.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}")
  for config in sorted(Path(CONFIGS.value).glob("*.py")):
    results = _read("scores")
    own = {k: v for k, v in results.items() if k.split()[0] == config.stem}
    if own:
      config.write_text(with_figures(config.read_text(), own))


def _read(name: str) -> dict:
  """Returns a file of experiments/results/, `{}` if it does not exist."""
  file = ROOT / "experiments" / "results" / f"{name}.json"
  return json.loads(file.read_text()) if file.exists() else {}


def scores(results: dict) -> str:
  """Returns the table of the test scores."""
  rows = []
  for name, result in results.items():
    config, *changed = name.split()
    score = Score.of(result)
    note = f" ({result['note']})" if result.get("note") else ""
    rows.append(
      (
        f"`configs/{config}.py` {', '.join(changed)}".strip(),
        f"{result['parameters']:,}",
        f"{score.metric} {score.mean} ± {score.deviation} ({score.span})",
        str(result["seeds"]),
        f"{_span(result['seconds'])} s{note}",
        measured(result),
      )
    )
  return as_table(
    "Test scores, and the time from the command to its exit:",
    "experiments/campaigns/scores.py --manual_dir=DIR",
    (
      *("config", "parameters", "test score, ± deviation", "seeds", "time"),
      "measured on",
    ),
    rows,
  )


class Score(NamedTuple):
  """The test metric of a config over several seeds, formatted."""

  metric: str
  mean: str
  deviation: str
  span: str

  @classmethod
  def of(cls, result: dict) -> "Score":
    """Formats accuracies as percentages and other metrics as numbers."""
    metric = "accuracy" if "test/accuracy" in result["metrics"] else "r2"
    scale, unit = (100, "%") if metric == "accuracy" else (1, "")
    values = [scale * value for value in result["metrics"][f"test/{metric}"]]
    return cls(
      metric,
      f"{statistics.mean(values):.2f}{unit}",
      f"{statistics.stdev(values):.2f}",
      f"{min(values):.2f} to {max(values):.2f}",
    )


def with_figures(config: str, results: dict) -> str:
  """Returns the text of a config, its docstring with the latest figures."""
  sentences = []
  for name, result in results.items():
    score = Score.of(result)
    changed = name.partition(" ")[2]
    note = f", {result['note']}" if result.get("note") else ""
    sentences.append(
      f"{f'In {changed}' if changed else 'Measured'} on {measured(result)}: "
      f"test {score.metric} {score.mean} (deviation {score.deviation} over "
      f"{result['seeds']} seeds) in {_span(result['seconds'])} s from the "
      f"command to its exit{note}."
    )
  paragraphs = "\n\n".join(textwrap.fill(text, 79) for text in sentences)
  return re.sub(
    r"\n\nMeasured on .*?\n\"\"\"\n",
    lambda _: f'\n\n{paragraphs}\n"""\n',
    config,
    count=1,
    flags=re.DOTALL,
  )


def kills(result: dict) -> str:
  """Returns the table of the killed runs."""
  phases = ", ".join(f"{n} {name}" for name, n in result["by_phase"].items())
  features = [k for k in result["by_kind"] if k not in optim.OPTIMIZERS]
  optimizers = len(result["by_kind"]) - len(features)
  kinds = "; ".join([*features, f"each of {optimizers} optimizers"])
  rows = [
    ("runs killed by SIGKILL and continued", result["runs"]),
    ("kills, by the phase of the run", f"{result['kills']}: {phases}"),
    ("kinds of runs", f"{len(result['by_kind'])}: {kinds}"),
    ("runs whose result differs in any bit", result["different"]),
  ]
  return as_table(
    "Every leaf of the last checkpoint and every line of the log, compared "
    f"with an undisturbed run, {measured(result)}:",
    "experiments/campaigns/kills.py",
    ("killed runs", ""),
    rows,
  )


def faults(result: dict) -> str:
  """Returns the table of the faults, by kind and outcome."""
  outcomes = {
    "exact": "equal to an undisturbed run",
    "older": "equal, from an older checkpoint that the log reports",
    "reported": "a lost file reported, the rest equal",
    "refused": "refused in three lines",
    "silent": "different without a message",
    "trace": "a traceback",
  }
  rows = [
    (kind, sum(counts.values()), *(counts.get(name, 0) for name in outcomes))
    for kind, counts in result["table"].items()
  ]
  _, total, *counted = zip(*rows, strict=True)
  rows.append(("all", sum(total), *map(sum, counted)))
  return as_table(
    f"{result['faults']} faults in the files of continued and finished runs, "
    f"and in running processes, {measured(result)}:",
    "experiments/campaigns/faults.py",
    ("fault", "times", *outcomes.values()),
    rows,
  )


def regularization(result: dict) -> str:
  """Returns the table of the effects of regularization."""
  plain = result["accuracy"]["plain"]
  rows = []
  for name, values in result["accuracy"].items():
    mean, half, count = estimates.interval(values)
    gains = [value - base for value, base in zip(values, plain, strict=True)]
    gain, spread, _ = estimates.interval(gains)
    rows.append(
      (
        name.replace("_", " "),
        f"{100 * mean:.2f}% ± {100 * half:.2f}",
        "" if name == "plain" else f"{100 * gain:+.2f} ± {100 * spread:.2f}",
        count,
      )
    )
  return as_table(
    f"A CNN on {result['images']:,} images of MNIST, test accuracy after the "
    f"last step, means over seeds with 95% intervals, {measured(result)}:",
    "experiments/studies/regularization.py --manual_dir=DIR",
    ("with", "accuracy", "points above plain, same seeds", "seeds"),
    rows,
  )


def tax(result: dict) -> str:
  """Returns the table of the trainer's overhead."""
  rows = [
    (name, *ratio(result[name])) for name in result if is_ratio(result, name)
  ]
  return as_table(
    "Throughput of the whole loop, with log and checkpoints, over a bare "
    f"jitted loop of the same step, {measured(result)}:",
    "experiments/benchmark.py tax",
    ("model", "ratio", "least to most"),
    rows,
  )


def layer_statistics(result: dict) -> str:
  """Returns the table of the cost of layer statistics."""
  rows = [
    (name, *ratio(result[name])) for name in result if is_ratio(result, name)
  ]
  return as_table(
    "Time of a run with layer statistics (`training.layer_statistics_every`) "
    f"over one without, {measured(result)}:",
    "experiments/benchmark.py layer_statistics",
    ("model", "ratio", "least to most"),
    rows,
  )


def peers(result: dict) -> str:
  """Returns the table of the comparison with PyTorch."""
  rows = [
    (
      name,
      result[name]["batch"],
      f"{result[name]['dlcore_ms']:.2f} ms",
      f"{result[name]['torch_ms']:.2f} ms",
      *ratio(result[name]),
    )
    for name in result
    if is_ratio(result, name)
  ]
  return as_table(
    "A training step (forward, backward and AdamW) in float32 on "
    f"{result['threads']} threads, alternating with PyTorch "
    f"{result['torch']} and its fused AdamW: images of 28x28 (mlp, cnn) and "
    "32x32 pixels, sequences of 100 tokens, recurrent layers of width 128, "
    "and a transformer of 4 layers and width 128; jax "
    f"{result['jax']}, {measured(result)}:",
    "experiments/benchmark.py peers",
    ("model", "batch", "dlcore", "PyTorch", "times as fast", "least to most"),
    rows,
  )


def inputs(result: dict) -> str:
  """Returns the table of the data paths."""
  paths = {
    "device": "on the device, gathered there",
    "memory": "in memory, gathered on the host",
    "files": "PNG files 28x28, decoded in threads",
    "files_workers": "PNG files 28x28, decoded in two processes",
  }
  rows = [(text, f"{result[name]:,}") for name, text in paths.items()]
  return as_table(
    f"Batches of 128 on the device, {measured(result)}:",
    "experiments/benchmark.py input",
    ("data", "examples/s"),
    rows,
  )


def start(result: dict) -> str:
  """Returns the table of the start-up times."""
  measurements = {
    "flax": "`import jax, flax.linen`",
    "models": "`from dlcore import models`",
    "cold": "`experiments/train.py` to its first step, empty compilation cache",
    "warm": "the same with a warm cache",
  }
  rows = [
    (text, f"{result[name]:.2f} s") for name, text in measurements.items()
  ]
  return as_table(
    f"Medians over processes, {measured(result)}:",
    "experiments/benchmark.py start",
    ("start", "time"),
    rows,
  )


def devices(result: dict) -> str:
  """Returns the table of the agreement between devices."""
  rows = [(name, f"{value:.1e}") for name, value in result["errors"].items()]
  return as_table(
    f"Largest difference of the losses of {result['steps']} steps, relative "
    f"to the largest loss, {measured(result)}:",
    "experiments/campaigns/devices.py",
    ("compared", "difference"),
    rows,
  )


def optimizers(result: dict) -> str:
  """Returns the table of differences from the papers' formulas."""
  rows = [
    (kind, name, f"{values['default']:.1e}", f"{values['changed']:.1e}")
    for kind in ("optimizer", "schedule")
    for name, values in result[f"{kind}s"].items()
  ]
  return as_table(
    "Optimizers and schedules in float32, compared with their papers' formulas "
    f"in float64: largest difference of a parameter's movement in "
    f"{result['steps']} updates, or of a rate, relative to the largest entry, "
    f"{measured(result)}:",
    "experiments/campaigns/optimizers.py",
    ("kind", "name", "default settings", "all settings changed"),
    rows,
  )


def size(result: dict) -> str:
  """Returns the table of the size of the code."""
  before = f"{result['lines_before']:,} at {result['before']}"
  rows = [
    (
      "files that run before the first step",
      f"{len(result['files_before_first_step'])}, "
      f"{len(result['files_in_fit_before_first_step'])} of them in `fit`",
    ),
    (
      f"files that name a setting of `fit`, `{result['setting']}`",
      len(result["files_with_setting"]),
    ),
    ("lines of dlcore/", f"{result['lines']:,} ({before})"),
  ]
  return as_table(
    f"Size of the code, {measured(result)}:",
    "experiments/studies/size.py --before=REF",
    ("counted", ""),
    rows,
  )


TABLES: dict[str, Callable[[dict], str]] = {
  "scores": scores,
  "kills": kills,
  "faults": faults,
  "regularization": regularization,
  "devices": devices,
  "optimizers": optimizers,
  "parity": of_models.parity,
  "tax": tax,
  "layer_statistics": layer_statistics,
  "peers": peers,
  "input": inputs,
  "start": start,
  "size": size,
}


def _span(values: Sequence[float]) -> str:
  """Returns the range of rounded numbers, one number if they are equal."""
  least, most = f"{min(values):.0f}", f"{max(values):.0f}"
  return least if least == most else f"{least} to {most}"


if __name__ == "__main__":
  command.run(main)

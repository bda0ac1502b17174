"""Writes the results into README.md and the docstrings of configs/.

  results.py

The numbers are those in experiments/results/; each table names the command that
measures them.
"""

import json
import statistics
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from tables import (
  of_campaigns,
  of_models,
  of_overview,
  of_own_data,
  of_texts,
  of_transfer,
)
from tables.markdown import Table, as_table, is_ratio, measured, ratio

from dlcore import command
from dlcore.errors import UserError
from dlcore.models import PUBLISHED

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
  parts = [of_overview.overview(_read), *sections(_tables())]
  body = "\n\n".join(parts)
  path.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}")
  for config in sorted(Path(CONFIGS.value).glob("*.py")):
    results = _read("scores")
    own = {k: v for k, v in results.items() if k.split()[0] == config.stem}
    sentences = [sentence(*item) for item in own.items()]
    sentences.append(of_texts.figures(_read("text_scores"), config.stem))
    if found := list(filter(None, sentences)):
      config.write_text(with_figures(config.read_text(), found))


def _tables() -> dict[str, str]:
  """Returns the tables of the results that exist, by name."""
  tables = {
    name: table(result)
    for name, table in TABLES.items()
    if (result := _read(name))
  }
  tables["allocators"] = of_models.allocators(
    [_read(name) for name in ALLOCATORS]
  )
  tables["machines"] = of_models.machines([_read(name) for name in MACHINES])
  tables["models"] = of_models.models(
    PUBLISHED, _read("parity"), _read("peers")
  )
  return tables


def sections(tables: dict[str, str]) -> list[str]:
  """Returns the headings and tables of `SECTIONS`; titles fold the tables."""
  parts = []
  for heading, titles in SECTIONS.items():
    parts.append(f"### {heading}")
    parts += [
      f"<details>\n<summary>{title}</summary>\n\n{tables[name]}\n\n</details>"
      for name, title in titles.items()
      if name in tables
    ]
  return parts


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


def sentence(name: str, result: dict) -> str:
  """Returns a sentence on the figures of a config."""
  score = Score.of(result)
  changed = name.partition(" ")[2]
  note = f", {result['note']}" if result.get("note") else ""
  return (
    f"{f'In {changed}' if changed else 'Measured'} on {measured(result)}: "
    f"test {score.metric} {score.mean} (deviation {score.deviation} over "
    f"{result['seeds']} seeds) in {_span(result['seconds'])} s from the "
    f"command to its exit{note}."
  )


def with_figures(config: str, sentences: list[str]) -> str:
  """Returns the text of a config, its docstring with the latest figures."""
  paragraphs = "\n\n".join(textwrap.fill(text, 79) for text in sentences)
  before, _, after = config.partition('\n"""\n')
  before, *_ = before.partition("\n\nMeasured on ")
  return f'{before}\n\n{paragraphs}\n"""\n{after}'


def ratios(result: dict) -> list[tuple]:
  """Returns the rows of a comparison of two times, by problem."""
  return [
    (name, *ratio(result[name])) for name in result if is_ratio(result, name)
  ]


def peers(result: dict) -> list[tuple]:
  """Returns the rows of the comparison with PyTorch."""
  return [
    (name, *_steps(row, "torch", digits=2))
    for name, row in result.items()
    if is_ratio(result, name)
  ]


def _steps(row: dict, other: str, *, digits: int) -> tuple:
  """Returns the batch size and the times of a step of dlcore and another."""
  times = (row[f"{library}_ms"] for library in ("dlcore", other))
  return (
    row["batch"],
    *(f"{time:.{digits}f} ms" for time in times),
    *ratio(row),
  )


def convolutions(result: dict) -> list[tuple]:
  """Returns the rows of the comparison with the convolutions of XLA."""
  return [
    (
      name,
      *_steps(row, "xla", digits=0),
      *(
        f"{row[f'dlcore_{key}']:.0f} ({row[f'xla_{key}']:.0f})"
        for key in ("compile_seconds", "temporary_mb")
      ),
    )
    for name, row in result.items()
    if is_ratio(result, name)
  ]


ALLOCATORS = ("peers_default", "peers", "peers_jemalloc")
"""The results of `benchmark.py peers` with each allocator, `DLCORE_MALLOC` or
`LD_PRELOAD`."""

MACHINES = ("peers", "peers_intel")
"""The results of `benchmark.py peers` on each machine."""

INPUTS = {
  "device": "on the device, gathered there",
  "memory": "in memory, gathered on the host",
  "files": "PNG files 28x28, decoded in threads",
  "files_workers": "PNG files 28x28, decoded in two processes",
}
STARTS = {
  "flax": "`import jax, flax.linen`",
  "models": "`from dlcore import models`",
  "cold": "`experiments/train.py` to its first step, empty compilation cache",
  "warm": "the same with a warm cache",
}


def optimizers(result: dict) -> list[tuple]:
  """Returns the rows of the differences from the papers' formulas."""

  def greatest(kind: str, settings: str) -> str:
    name = max(result[kind], key=lambda name: result[kind][name][settings])
    return f"{result[kind][name][settings]:.1e} ({name})"

  return [
    (
      f"{len(result[kind])} {kind}",
      greatest(kind, "default"),
      greatest(kind, "changed"),
    )
    for kind in ("optimizers", "schedules")
  ]


TABLES: dict[str, Callable[[dict], str]] = {
  "scores": scores,
  "image_scores": of_own_data.image_scores,
  "table_scores": of_own_data.table_scores,
  "table_sizes": of_own_data.table_sizes,
  "messy": of_own_data.messy,
  "text_scores": of_texts.text_scores,
  "architectures": of_texts.architectures,
  "text_peers": of_texts.text_peers,
  "stress_peers": of_texts.stress_peers,
  "language_model_peers": of_texts.language_model_peers,
  "transfer_digits": of_transfer.digits,
  "transfer_texts": of_transfer.texts,
  "transfer_topics": of_transfer.topics,
  "transfer_costs": of_transfer.costs,
  "transfer_instructions": of_transfer.instructions,
  "kills": of_campaigns.kills,
  "faults": of_campaigns.faults,
  "mutants": of_campaigns.mutants,
  "hostile": lambda result: of_campaigns.hostile(
    result, _read("hostile_before")
  ),
  "memory": of_campaigns.memory,
  "regularization": of_campaigns.regularization,
  "long_memory": of_campaigns.long_memory,
  "devices": Table(
    "Largest difference of the losses of {steps} steps, relative to the "
    "largest loss",
    "experiments/campaigns/devices.py",
    ("compared", "difference"),
    lambda result: [
      (name, f"{value:.1e}") for name, value in result["errors"].items()
    ],
  ),
  "optimizers": Table(
    "Optimizers and schedules in float32, compared with their papers' formulas "
    "in float64: largest difference of a parameter's movement in {steps} "
    "updates, or of a rate, relative to the largest entry",
    "experiments/campaigns/optimizers.py",
    ("compared", "default settings", "all settings changed"),
    optimizers,
  ),
  "parity": of_models.parity,
  "tax": Table(
    "Throughput of the whole loop, with log and checkpoints, over a bare "
    "jitted loop of the same step",
    "experiments/benchmark.py tax",
    ("model", "ratio", "least to most"),
    ratios,
  ),
  "layer_statistics": Table(
    "Time of a run with layer statistics (`training.layer_statistics_every`) "
    "over one without",
    "experiments/benchmark.py layer_statistics",
    ("model", "ratio", "least to most"),
    ratios,
  ),
  "peers": Table(
    "A training step (forward, backward and AdamW) in float32 on {threads} "
    "threads, alternating with PyTorch {torch} and its fused AdamW, with "
    "images in channels_last where the name says so: images of 28x28 (mlp, "
    "cnn) and 32x32 pixels, sequences of 100 tokens, recurrent layers of width "
    "128, and a transformer of 4 layers and width 128; language models (lm) "
    "with the sizes of `configs/docs_lm.py`, with the same initial weights and "
    "the same losses in both libraries; jax "
    "{jax}; allocator of both: {allocator}; medians of several processes, "
    "least and most of all",
    "experiments/benchmark.py peers",
    ("model", "batch", "dlcore", "PyTorch", "times as fast", "least to most"),
    peers,
  ),
  "convolutions": Table(
    "A training step with the convolutions of dlcore, and with those of XLA "
    "(`DLCORE_CONVOLUTION=xla`); in parentheses the figures of XLA",
    "experiments/benchmark.py convolutions",
    (
      *("model", "batch", "dlcore", "XLA", "times as fast", "least to most"),
      *("compiles in, s", "temporaries, MB"),
    ),
    convolutions,
  ),
  "input": Table(
    "Batches of 128 on the device",
    "experiments/benchmark.py input",
    ("data", "examples/s"),
    lambda result: [(INPUTS[name], f"{result[name]:,}") for name in INPUTS],
  ),
  "start": Table(
    "Medians over processes",
    "experiments/benchmark.py start",
    ("start", "time"),
    lambda result: [(STARTS[name], f"{result[name]:.2f} s") for name in STARTS],
  ),
  "size": of_campaigns.size,
}


SECTIONS: dict[str, dict[str, str]] = {
  "Scores": {
    "scores": "Digits, MNIST and small tables, by config",
    "image_scores": "Your images: folders, compared with a linear model",
    "table_scores": "Your table: real tables, compared with scikit-learn",
    "table_sizes": "Your table: from 1,000 to 1,000,000 rows",
    "text_scores": "Texts: classification, tagging, language, translation",
    "architectures": "Architectures at equal parameters and equal time",
    "text_peers": "Linear models of texts",
    "stress_peers": "Stress by rules and by logistic regression",
    "language_model_peers": "Bits per character of n-grams and compressors",
    "regularization": "Regularization on 1,000 images of MNIST",
    "long_memory": "Memory of RNN, LSTM, GRU and transformer",
  },
  "Transfer": {
    "transfer_digits": "MNIST: digits 0 to 4, then few images of 5 to 9",
    "transfer_texts": "A published encoder on few and many reviews",
    "transfer_topics": "A language model that becomes a classifier",
    "transfer_instructions": "Instructions, by adapters alone",
    "transfer_costs": "Time, memory and checkpoints of the strategies",
  },
  "Robustness": {
    "kills": "Killed runs",
    "faults": "Damaged files and disturbed processes",
    "hostile": "Hostile files and settings",
    "messy": "Messy tables and images",
    "mutants": "Mutated code and the tests",
  },
  "Agreement": {
    "parity": "Models, with PyTorch",
    "optimizers": "Optimizers and schedules, with their formulas",
    "devices": "Eight devices with one, pmap with jit",
  },
  "Speed and memory": {
    "peers": "A training step, compared with PyTorch",
    "machines": "The same by machine",
    "allocators": "The same with other allocators",
    "convolutions": "Convolutions, compared with those of XLA",
    "tax": "The training loop, compared with a bare loop",
    "layer_statistics": "Layer statistics",
    "input": "Input",
    "start": "Start",
    "memory": "Peak memory and its estimates",
    "size": "Size of the code",
  },
  "Models": {"models": "Papers and parameter counts"},
}
"""Titles of the tables, by heading."""


def _span(values: Sequence[float]) -> str:
  """Returns the range of rounded numbers, one number if they are equal."""
  least, most = f"{min(values):.0f}", f"{max(values):.0f}"
  return least if least == most else f"{least} to {most}"


if __name__ == "__main__":
  command.run(main)

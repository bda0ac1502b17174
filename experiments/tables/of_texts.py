"""The tables of the text configs, and of their peers."""

import statistics

from tables.markdown import Table, as_table, measured, verdict

METRICS = {
  "language_id": ("test/accuracy", "test/f1_macro"),
  "reviews": ("test/accuracy", "test/roc_auc"),
  "stress": ("test/accuracy", "test/sequence_accuracy"),
  "docs_lm": ("test/bits_per_character",),
  "docs_mlm": ("test/masked_accuracy", "test/loss"),
  "numbers_translate": ("test/exact_match", "longer/exact_match"),
  "translation": ("test/chrf", "test/bleu", "copy/chrf"),
  "pronounce": ("test/token_error_rate", "test/exact_match"),
}
"""The metrics that are shown, by config."""

PREFIXES = {"longer/": "of longer numbers ", "copy/": "of the sources "}
"""How the names of metrics begin that are not of the test split."""

SHARES = ("accuracy", "f1_macro", "exact_match", "error_rate")
"""Endings of the names of metrics in percent."""


def text_scores(results: dict) -> str:
  """Returns the table of the test scores of the text configs."""
  rows = []
  for name, result in results.items():
    recipe, _, changed = name.partition(" ")
    shown = METRICS[name.partition(":")[0]]
    rows.append(
      (
        f"`{recipe}` {changed}".strip(),
        f"{result['parameters']:,}",
        ", ".join(_score(result["metrics"], metric) for metric in shown),
        result["seeds"],
        verdict(result.get("than_peer")),
        _minutes(result),
        measured(result),
      )
    )
  return as_table(
    "Test scores of the text configs, means and deviations over seeds; the "
    "difference of the accuracy from the linear model of scikit-learn in the "
    "tables below, in points with its 95% interval; minutes from the command "
    "to its exit:",
    "experiments/campaigns/text_scores.py",
    (
      *("config", "parameters", "test scores", "seeds", "than scikit-learn"),
      *("minutes", "measured on"),
    ),
    rows,
  )


def figures(results: dict, config: str) -> str:
  """Returns a sentence on the default variant of a config, "" without one."""
  for name, result in results.items():
    if name.partition(":")[0] == config:
      scores = (_score(result["metrics"], metric) for metric in METRICS[config])
      seeds = result["seeds"]
      return (
        f"Measured on {measured(result)}: test {', '.join(scores)}, of {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}, in {_minutes(result)} minutes "
        "from the command to its exit."
      )
  return ""


def _minutes(result: dict) -> str:
  """Returns the shortest and the longest time of a run."""
  ends = {f"{end(result['seconds']) / 60:.1f}" for end in (min, max)}
  return " to ".join(sorted(ends, key=float))


def _score(metrics: dict, name: str) -> str:
  """Returns a metric by name, its mean and its deviation."""
  title = name.removeprefix("test/")
  for prefix, words in PREFIXES.items():
    title = title.replace(prefix, words)
  return f"{title.replace('_', ' ')} {_value(metrics, name)}"


def _value(metrics: dict, name: str) -> str:
  """Returns the mean and the deviation of a metric."""
  share = name.endswith(SHARES)
  scale, unit, digits = (100, "%", 2) if share else (1, "", 3)
  values = [scale * value for value in metrics[name]]
  deviation = (
    f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
  )
  return f"{statistics.mean(values):.{digits}f}{unit}{deviation}"


def architectures(results: dict) -> str:
  """Returns the table of architectures of equal size and training time."""
  rows = [
    (
      f"`{name}`",
      f"{result['parameters']:,}",
      f"{result['steps']:,}",
      f"{statistics.mean(result['step_seconds']):.0f} s",
      *(_value(result["metrics"], m) for m in METRICS["language_id"]),
    )
    for name, result in results.items()
  ]
  first = next(iter(results.values()))
  return as_table(
    "Architectures of `configs/language_id.py` with about 300,000 parameters "
    "and about equal training time, measured while other processes shared the "
    f"machine; test scores of {first['seeds']} seeds, "
    f"{measured(*results.values())}:",
    "experiments/campaigns/architectures.py",
    ("variant", "parameters", "steps", "time", "accuracy", "macro F1"),
    rows,
  )


def text_peers(results: dict) -> str:
  """Returns the table of the scores of scikit-learn on the same examples."""
  rows = [
    (
      name,
      *(f"{result[key]:,}" for key in ("train", "test")),
      f"{result['accuracy']:.2%}",
      f"{result['macro_f1']:.3f}",
      f"{result['auc']:.3f}" if "auc" in result else "",
      f"{result['seconds']:.0f} s",
    )
    for name, result in results.items()
  ]
  return as_table(
    "Linear models of scikit-learn on n-grams of the texts of the same sets, "
    f"{measured(next(iter(results.values())))}:",
    "experiments/campaigns/text_peers.py",
    ("set", "train", "test", "accuracy", "macro F1", "AUC", "time"),
    rows,
  )


stress_peers = Table(
  "The stress of {test:,} vowels by rules and by logistic regression on the "
  "phonemes around them, fitted to {train:,} vowels",
  "experiments/campaigns/stress_peers.py",
  ("model", "accuracy", "accuracy of words", "macro F1"),
  lambda result: [
    (
      name.replace("_", " "),
      *(
        f"{row[metric]:.1%}"
        for metric in ("accuracy", "sequence_accuracy", "f1_macro")
      ),
    )
    for name, row in result.items()
    if isinstance(row, dict) and "accuracy" in row
  ],
)
"""The table of the peers of `configs/stress.py`."""

language_model_peers = Table(
  "Bits per character of the text of `docs_lm` with {characters of train:,} "
  "characters of training text. The compressors adapt to the text while they "
  "encode it; n-gram models and those of `docs_lm` do not",
  "experiments/campaigns/language_model_peers.py",
  ("method", "valid", "test"),
  lambda result: [
    (
      method,
      *(
        f"{result[split]['bits_per_character'][method]:.3f}"
        for split in ("valid", "test")
      ),
    )
    for method in result["test"]["bits_per_character"]
  ],
)
"""The table of n-gram models and compressors."""

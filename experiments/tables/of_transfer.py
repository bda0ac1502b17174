"""The tables of transfer learning."""

import statistics

from tables.markdown import as_table, measured, verdict

from dlcore.host_memory import binary_size


def digits(results: dict) -> str:
  """Returns the table of the strategies on few images of new digits."""
  rows = [
    (
      size,
      f"`{strategy}`",
      _share(result["metrics"]["test/accuracy"]),
      verdict(result.get("than_scratch")),
      f"{result['rate']:g}",
      f"{statistics.mean(result['cpu_seconds']):.0f}",
    )
    for size, by_strategy in results.items()
    for strategy, result in by_strategy.items()
  ]
  every = [
    row for by_strategy in results.values() for row in by_strategy.values()
  ]
  return as_table(
    "Test accuracy on the digits 5 to 9 of MNIST after training on the digits "
    "0 to 4 and on so many images of each new digit: means and deviations over "
    f"{every[0]['seeds']} draws of the images, and the difference from "
    "`scratch` in points with its 95% interval; the learning rate, the best on "
    "other images of those with a factor of 4 between them; the seconds of the "
    "processor from the command to its exit. Frozen batch norm has the "
    "statistics of the digits 0 to 4, "
    f"{measured(*every)}:",
    "experiments/campaigns/transfer_digits.py --manual_dir=DIR",
    ("images", "strategy", "accuracy", "than scratch", "rate", "seconds"),
    rows,
  )


def texts(results: dict) -> str:
  """Returns the table of fine-tuned encoders and TF-IDF."""
  rows = []
  for size, by_strategy in results.items():
    for name, result in by_strategy.items():
      metrics = result.get("metrics", {})
      rows.append(
        (
          size,
          f"`{name}`" if metrics else name,
          _share(metrics.get("test/accuracy") or result["accuracy"]),
          _number(metrics.get("test/roc_auc") or result.get("auc")),
          verdict(result.get("than_peer")),
          verdict(result.get("auc_than_peer")),
          _minutes(result.get("cpu_seconds")),
          measured(result) if metrics else "",
        )
      )
  return as_table(
    "Reviews of five stars or fewer by a fine-tuned all-MiniLM-L6-v2, and by "
    "TF-IDF with logistic regression on the same reviews: means and deviations "
    "over draws, and the differences of accuracy and AUC in points with their "
    "95% intervals; `described` adds ten sentences that say what the classes "
    "are to the training texts of both; minutes of the processor from the "
    "command to its exit:",
    "experiments/campaigns/transfer_texts.py --weights=DIR",
    (
      *("reviews of each class", "strategy", "accuracy", "AUC"),
      *("than TF-IDF", "AUC than TF-IDF", "minutes", "measured on"),
    ),
    rows,
  )


def topics(results: dict) -> str:
  """Returns the table of classifiers that begin with a language model."""
  rows = [
    (
      size,
      name if name == "tfidf" else f"`{name}`",
      _share(
        result["accuracy"]
        if name == "tfidf"
        else result["metrics"]["test/accuracy"]
      ),
      f"{result['rate']:g}" if "rate" in result else "",
      verdict(result.get("than_scratch")),
      verdict(result.get("than_peer")),
      _minutes(result.get("seconds")),
    )
    for size, by_strategy in results["sizes"].items()
    for name, result in by_strategy.items()
  ]
  paragraphs, base = results["paragraphs"], results["base"]
  others = [r for row in results["sizes"].values() for r in row.values()]
  return as_table(
    f"Topics ({paragraphs['topics']}) of {paragraphs['test']} held-out "
    "paragraphs of `docs_text` by a character LSTM, with random weights "
    "(`scratch`) or with those of a language model of the other paragraphs "
    f"({_minutes(base['seconds'])} minutes), and by TF-IDF with logistic "
    "regression: means and deviations over draws of the labelled paragraphs; "
    "the learning rate, the best on other paragraphs; differences in "
    f"points with their 95% intervals, {measured(base, *others)}:",
    "experiments/campaigns/transfer_topics.py",
    (
      *("labelled of each topic", "strategy", "accuracy", "rate"),
      *("than scratch", "than TF-IDF", "minutes"),
    ),
    rows,
  )


def costs(result: dict) -> str:
  """Returns the table of the time, memory and checkpoints of strategies."""
  cases = result["cases"]
  full = cases["full"]
  rows = [
    (
      f"`{name}`",
      f"{case['epoch_seconds']:.3g} s",
      *(
        binary_size(case[key])
        for key in ("parameters", "optimizer", "activations", "peak")
      ),
      f"{binary_size(case['checkpoint'])}, "
      f"{100 * case['checkpoint'] / full['checkpoint']:.2g}%",
      f"{case['loss']:.4f}",
    )
    for name, case in cases.items()
  ]
  return as_table(
    f"Strategies for an encoder of {full['all_parameters']:,} parameters, with "
    "192 reviews of 128 tokens in batches of 32: the time of an epoch (cached "
    "features are computed before), bytes of the trained parameters, of the "
    "optimizer's state and of the temporary arrays of a step by the compiler's "
    "count, the increase of the process's memory from before the weights are "
    "read to its peak, the checkpoint, also as a share of the one of `full`, "
    f"and the test loss after 2 epochs, {measured(result)}:",
    "experiments/campaigns/transfer_costs.py --weights=DIR",
    (
      *("strategy", "epoch", "parameters", "optimizer", "temporary"),
      *("peak", "checkpoint", "loss"),
    ),
    rows,
  )


def instructions(results: dict) -> str:
  """Returns the table of the answers to instructions."""
  rows = [
    (
      f"`{name}`",
      result["seeds"],
      f"{result['rate']:g}",
      *(
        _share(result["metrics"][key])
        for key in ("answers/right", "answers/ended")
      ),
      _minutes(result["seconds"]),
      measured(result),
    )
    for name, result in results.items()
    if "answers/right" in result["metrics"]
  ]
  return as_table(
    "Answers of a Llama of bytes to 1,000 instructions about numbers that "
    "occur in no training text, `lora` with adapters of rank 16; the learning "
    "rate, the best for other numbers; minutes from the command to its exit, "
    "without those of the first training, "
    f"{_minutes(results['base']['seconds'])}:",
    "experiments/campaigns/transfer_instructions.py",
    ("strategy", "seeds", "rate", "right", "ended", "minutes", "measured on"),
    rows,
  )


def _share(values: list[float]) -> str:
  mean = f"{100 * statistics.mean(values):.1f}%"
  return mean + _deviation([100 * value for value in values], 1)


def _number(values: list[float] | None) -> str:
  if not values:
    return ""
  return f"{statistics.mean(values):.3f}" + _deviation(values, 3)


def _deviation(values: list[float], digits: int) -> str:
  if len(values) < 2:
    return ""
  return f" ± {statistics.stdev(values):.{digits}f}"


def _minutes(seconds: list[float] | None) -> str:
  return f"{statistics.mean(seconds) / 60:.1f}" if seconds else ""

"""The tables of transfer learning."""

import statistics

from tables.markdown import as_table, measured


def digits(results: dict) -> str:
  """Returns the table of the strategies on few images of new digits."""
  sizes = list(results)
  strategies = dict.fromkeys(
    name for by_strategy in results.values() for name in by_strategy
  )
  rows = [
    (
      f"`{strategy}`",
      *(_cell(results[size].get(strategy)) for size in sizes),
    )
    for strategy in strategies
  ]
  first = next(iter(results[sizes[0]].values()))
  return as_table(
    "Test accuracy on the digits 5 to 9 of MNIST after training on the digits "
    "0 to 4 and on so many images of each new digit, means and deviations over "
    f"{first['seeds']} draws of the images; the learning rate, the best of "
    "four on other images, and the seconds from the command to its exit; "
    "frozen batch norm has the statistics of the digits 0 to 4, "
    f"{measured(first)}:",
    "experiments/campaigns/transfer_digits.py --manual_dir=DIR",
    ("strategy", *(f"{size} images" for size in sizes)),
    rows,
  )


def _cell(result: dict | None) -> str:
  """Returns accuracy, rate and time of a strategy, "" if not measured."""
  if result is None:
    return ""
  accuracies = result["metrics"]["test/accuracy"]
  mean = 100 * statistics.mean(accuracies)
  deviation = 100 * statistics.stdev(accuracies)
  seconds = statistics.mean(result["seconds"])
  return f"{mean:.1f}% ± {deviation:.1f}, {result['rate']:g}, {seconds:.0f} s"

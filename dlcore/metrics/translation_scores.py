"""Scores of translated texts by the package `sacrebleu`."""

import functools
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlcore.errors import UserError, install_hint, lookup

TRANSLATION: Mapping[str, Callable[[Any], Any]] = {
  "bleu": lambda module: module.BLEU(),
  "chrf": lambda module: module.CHRF(),
  "ter": lambda module: module.TER(),
}
"""By name, the metric of a module `sacrebleu.metrics`, with default settings:
BLEU (Papineni et al. 2002) as by Post 2018, arXiv:1804.08771, chrF (Popović
2015) and the translation edit rate (Snover et al. 2006), in percent."""

logger = logging.getLogger("dlcore")


def check_translation(names: Sequence[str]) -> None:
  """Checks names of scores, and that their package is installed.

  Raises:
    UserError: a name is unknown, or sacrebleu is missing.
  """
  for name in names:
    lookup(TRANSLATION, name, "score of translations")
  if names:
    _sacrebleu()


def translation_scores(
  names: Sequence[str],
  predicted: Sequence[str],
  references: Sequence[Sequence[str]],
) -> dict[str, float]:
  """Returns scores of a whole corpus, and logs the signature of each once.

  Args:
    names: keys of `TRANSLATION`.
    predicted: N texts.
    references: one or more of each.

  Raises:
    UserError: see `check_translation`.
  """
  check_translation(names)
  # A stream has one reference of each text, None where there are fewer.
  streams = [list(stream) for stream in itertools.zip_longest(*references)]
  values = {}
  for name in names:
    metric = TRANSLATION[name](_sacrebleu().metrics)
    values[name] = float(metric.corpus_score(list(predicted), streams).score)
    _log(f"{name} by sacrebleu has the signature {metric.get_signature()}")
  return values


@functools.lru_cache
def _log(message: str) -> None:
  logger.info(message)


def _sacrebleu() -> Any:
  """Returns the module `sacrebleu`.

  Raises:
    UserError: it is not installed.
  """
  try:
    import sacrebleu  # pyright: ignore[reportMissingImports]
  except ImportError:
    raise UserError(
      "expected the package sacrebleu, which computes BLEU, chrF and TER",
      "it is not installed",
      f"install it: {install_hint('translation')}",
    ) from None
  return sacrebleu

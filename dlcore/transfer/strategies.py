"""The trained parameters of a model with the weights of another task.

A strategy is a row of `STRATEGIES`: a function whose keywords are its settings,
and which returns an `Adaptation` for each phase of the training.
"""

import math
import re
from collections.abc import Callable, Mapping

from dlcore import tasks
from dlcore.data import DataInfo
from dlcore.errors import UserError, check_pattern
from dlcore.task import Task
from dlcore.tasks.class_loss import check_not_negative
from dlcore.tasks.contrastive import check_temperature
from dlcore.tasks.l2sp import l2sp as penalized
from dlcore.tasks.lora import KERNELS, check_lora
from dlcore.tasks.number_checks import check_count, check_positive, check_share
from dlcore.transfer.chosen_layers import (
  HEAD,
  any_of,
  check_trained,
  separate_layers,
  train_matching,
)
from dlcore.transfer.phase import Adaptation, Layers, Strategy
from dlcore.typing import Array


def full() -> Strategy:
  """Returns the strategy that trains all parameters alike."""
  return (Adaptation(),)


def head(*, trained: str = HEAD, cache: bool = True) -> Strategy:
  """Returns the strategy that trains the head alone, a linear probe.

  Args:
    trained: regular expression over the paths of parameters.
    cache: whether the inputs of the head are computed once, if batches are not
      augmented and they take at most 4 GiB.
  """
  check_trained(trained)

  def change(task: Task, layers: Layers) -> Task:
    return train_matching(task, layers, trained)

  return (Adaptation(change, freezes=True, caches=cache),)


def last_n(*, number: int = 2) -> Strategy:
  """Returns the strategy that trains the last layers, and what follows them.

  Args:
    number: of numbered layers, such as the blocks of a transformer or the
      stages of a ResNet.
  """
  check_count("number", number)

  def change(task: Task, layers: Layers) -> Task:
    known = separate_layers(layers)
    numbered = [i for i, layer in enumerate(known) if layer.is_numbered]
    if number >= len(numbered):
      raise UserError(
        f"expected number below {len(numbered)}, the numbered layers",
        f"got {number}",
        'choose fewer, or the strategy "full"',
      )
    return tasks.freeze(task, any_of(known[: numbered[-number]]))

  return (Adaptation(change, freezes=True),)


def layerwise(*, decay: float = 0.75) -> Strategy:
  """Returns the strategy whose learning rates fall towards the input.

  Clark et al. 2020, arXiv:2003.10555; Bao et al. 2021, arXiv:2106.08254.

  Args:
    decay: rate of a layer relative to that of the next one.
  """
  if not isinstance(decay, Array) and not 0 < decay <= 1:
    raise UserError("expected decay above 0 and at most 1", f"got {decay}")

  def rates(layers: Layers) -> tuple[tuple[str, float], ...]:
    known = separate_layers(layers)
    return tuple(
      (any_of([layer]), decay ** (len(known) - 1 - i))
      for i, layer in enumerate(known)
    )

  return (Adaptation(rates=rates),)


def bitfit(*, trained: str = HEAD) -> Strategy:
  """Returns the strategy that trains the biases and the head.

  Ben Zaken et al. 2022, arXiv:2106.10199.

  Args:
    trained: regular expression over the paths of further parameters; an empty
      one matches none.
  """
  check_pattern("trained", trained)
  biases = f"bias$|{trained}" if trained else "bias$"

  def change(task: Task, layers: Layers) -> Task:
    return train_matching(task, layers, biases)

  return (Adaptation(change, freezes=True),)


def lora(
  *,
  pattern: str = KERNELS,
  rank: int = 8,
  alpha: float = 16.0,
  dropout: float = 0.0,
  rank_stabilized: bool = False,
  dora: bool = False,
  base: str = "float32",
  trained: str = HEAD,
) -> Strategy:
  """Returns the strategy of low-rank adapters, see `tasks.lora`."""
  settings = dict(locals())
  check_lora(pattern, trained, rank, alpha, dropout, base)

  def change(task: Task, layers: Layers) -> Task:
    paths = [path for layer in layers() for path in layer.paths]
    own = trained if any(re.search(trained, path) for path in paths) else ""
    return tasks.lora(task, **{**settings, "trained": own})

  return (Adaptation(change, freezes=True),)


def l2sp(
  *, alpha: float = 0.01, beta: float = 0.01, trained: str = HEAD
) -> Strategy:
  """Returns the strategy with a penalty on the distance from the start.

  Li et al. 2018, arXiv:1802.01483.

  Args:
    alpha: factor of half the squared distance of the parameters.
    beta: factor of half the squares of those of `trained`, which begin at
      random values.
    trained: regular expression over the paths of parameters; an empty one
      matches none.
  """
  check_pattern("trained", trained)
  check_not_negative("alpha", alpha)
  check_not_negative("beta", beta)
  return (Adaptation(lambda task, _: penalized(task, alpha, beta, trained)),)


def scratch() -> Strategy:
  """Returns the strategy that trains all parameters from random ones.

  It is the baseline of the others: model and inputs are those of the weights.
  """
  return (Adaptation(loads=False),)


def fine_tune(
  *,
  head_share: float = 0.2,
  rate: float = 0.5,
  spread: float = 100.0,
  trained: str = HEAD,
) -> Strategy:
  """Returns the strategy that trains the head first, and then everything.

  In the second phase the learning rates fall towards the input, in equal ratios
  from layer to layer (Howard & Ruder 2018, arXiv:1801.06146; Howard & Gugger
  2020, arXiv:2002.04688).

  Args:
    head_share: share of the steps of the first phase.
    rate: peak of the learning rate in the second phase, relative to the first.
    spread: ratio of the rates of the last and the first layer.
    trained: regular expression over the paths of the parameters of the head.
  """
  check_share("head_share", head_share)
  check_positive("rate", rate)
  if not 1 <= spread < math.inf:
    raise UserError("expected spread of at least 1", f"got {spread}")

  def rates(layers: Layers) -> tuple[tuple[str, float], ...]:
    known = separate_layers(layers)
    last = max(1, len(known) - 1)
    return tuple(
      (any_of([layer]), spread ** (i / last - 1))
      for i, layer in enumerate(known)
    )

  [first] = head(trained=trained)
  return (
    first._replace(share=head_share),
    Adaptation(rates=rates, share=1 - head_share, rate=rate),
  )


def gradual(
  *,
  number: int = 3,
  rate: float = 0.1,
  decay: float = 0.5,
  trained: str = HEAD,
) -> Strategy:
  """Returns the strategy that unfreezes the layers from the last to the first.

  The first phase trains the head, the next ones more and more of the layers,
  and the last one everything (Howard & Ruder 2018, arXiv:1801.06146). All have
  as many steps.

  Args:
    number: of phases after that of the head.
    rate: peak of the learning rate in the second phase, relative to the first.
    decay: that of each further phase, relative to the one before.
    trained: regular expression over the paths of the parameters of the head.
  """
  check_count("number", number)
  check_positive("rate", rate)
  check_positive("decay", decay)

  def unfreeze(phase: int) -> Callable[[Task, Layers], Task]:
    def change(task: Task, layers: Layers) -> Task:
      known = separate_layers(layers)
      frozen = len(known) - math.ceil(len(known) * phase / number)
      return tasks.freeze(task, any_of(known[:frozen])) if frozen else task

    return change

  share = 1 / (number + 1)
  [first] = head(trained=trained)
  return (
    first._replace(share=share),
    *(
      Adaptation(unfreeze(phase), share=share, rate=rate * decay ** (phase - 1))
      for phase in range(1, number + 1)
    ),
  )


def setfit(
  *,
  share: float = 0.5,
  rate: float = 0.01,
  temperature: float = 0.1,
  trained: str = HEAD,
) -> Strategy:
  """Returns the strategy for few examples of each class.

  The first phase brings the features of examples of one class together, see
  `tasks.contrastive`, in batches of pairs of one class. The second trains the
  head alone on these features (SetFit, Tunstall et al. 2022, arXiv:2209.11055,
  with the loss of Khosla et al. 2020, arXiv:2004.11362).

  Args:
    share: of the steps of the first phase.
    rate: peak of the learning rate in the first phase, relative to the second.
    temperature: of the loss of the first phase.
    trained: regular expression over the paths of the parameters of the head.
  """
  check_share("share", share)
  check_positive("rate", rate)
  check_temperature(temperature)
  check_trained(trained)

  def change(task: Task, layers: Layers) -> Task:
    del layers
    return tasks.contrastive(tasks.freeze(task, trained), temperature)

  first = Adaptation(
    change,
    share=share,
    rate=rate,
    freezes=True,
    predicts=False,
    sampling="class_pairs",
    least_batch=32,
    check_data=_check_classes,
  )
  [second] = head(trained=trained)
  return (first, second._replace(share=1 - share))


def _check_classes(info: DataInfo) -> None:
  """Checks that examples have one class each, and some class two examples.

  Raises:
    UserError: they have not.
  """
  schema = info.schema
  shape, _ = info.targets.get(schema.target, ((), ""))
  if schema.multilabel or not schema.classes or shape:
    got = "a class for each of its parts" if shape else "no classes"
    raise UserError(
      "expected data with one class for every example, for the strategy "
      "'setfit'",
      f"got {info.name!r}, which has "
      f"{'several labels' if schema.multilabel else got}",
      "choose another strategy, such as 'fine_tune'",
    )
  if max(info.class_counts, default=2) < 2:
    raise UserError(
      "expected two examples of a class at least, for the strategy 'setfit'",
      f"got {info.size} examples in {info.name!r}, one of each class",
      "add examples, or choose the strategy 'head'",
    )


STRATEGIES: Mapping[str, Callable[..., Strategy]] = {
  "bitfit": bitfit,
  "fine_tune": fine_tune,
  "full": full,
  "gradual": gradual,
  "head": head,
  "l2sp": l2sp,
  "last_n": last_n,
  "layerwise": layerwise,
  "lora": lora,
  "scratch": scratch,
  "setfit": setfit,
}
"""By name: `(**settings) -> Strategy`."""

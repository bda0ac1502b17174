"""The loop: batches in, steps, a line of the log, an evaluation, a save."""

import dataclasses
import logging
from collections.abc import Callable, Iterator

import jax
import numpy as np

from dlcore.errors import UserError, nearest
from dlcore.scale import DataParallel
from dlcore.training import checkpoint, decisions, probe, signals
from dlcore.training.calls import Compiled, Plan
from dlcore.training.checkpoint import Checkpoints
from dlcore.training.decisions import Plateau
from dlcore.training.evaluation import Evaluator
from dlcore.training.phases import Phases
from dlcore.training.probe import Probe
from dlcore.training.state import State
from dlcore.training.watch import Watch
from dlcore.typing import Batch

log = logging.getLogger("dlcore")


@dataclasses.dataclass
class Loop:
  """The parts of a run, and where it stands; see `fit` for their meaning."""

  state: State
  plan: Plan
  parallel: DataParallel
  dataset: Batch
  compiled: Compiled
  probe: Probe
  evaluate: Evaluator | None
  saves: Checkpoints | None
  watch: Watch
  phases: Phases
  create: Callable[[], State]
  """Makes the state before the first step."""

  feed_from: Callable[[State], Iterator[tuple[int, Batch]]]
  """Yields the steps and the batches of the calls that follow a state."""

  failure: Callable[[State], UserError]
  """Explains why the run cannot go on from a halted state."""

  best_by: str
  plateau: Plateau | None
  patience: int
  recoveries: int

  def __post_init__(self):
    """Enters the run where its state says that it is."""
    self._champion: State | None = None
    self._enter(self.state)

  def run(self) -> State:
    """Trains to the end; returns the last state, after patience the best."""
    try:
      self._compile()
      with signals.handled() as stop:
        while not self._pause(stop):
          self._advance()
      return self._end()
    except BaseException:
      if self.saves:
        self.saves.abandon()
      raise
    finally:
      self._feed.close()
      self.watch.close()

  def _enter(self, state: State) -> None:
    """Goes on from `state`, the first one or one to which the run goes back."""
    self.state = self._placed(state)
    self._step = int(state.step)
    self._unsaved = False
    self._feed = self.feed_from(self.state)

  def _compile(self) -> None:
    # Handlers do not run inside a compilation, so that comes first: until
    # then a signal ends the process at once, and there is nothing to save.
    counts = set(self.plan.counts(self._step))
    self._feed = self.compiled.prepare(
      self._feed, counts, self.state, self.dataset, self.phases
    )
    if self.evaluate is not None and counts:
      with self.phases("compile"):
        metrics = self.evaluate.compile(self.state.evaluated, self.state.extra)
        _check_named(self.best_by, metrics)

  def _advance(self) -> None:
    """Makes one call, of one or of several steps."""
    with self.phases("feed"):
      count, batch = next(self._feed)
    if self.probe.due(self._step, count):
      self._look(count, batch)
    with self.phases("step"):
      self.state, entry = self.compiled(count, self.state, self.dataset, batch)
      self.watch.add(self._step, count, entry)
    self._step += count
    self.phases.steps += count
    self._unsaved = True

  def _pause(self, stop: signals.Flag) -> bool:
    """Does what is due between two calls; tells whether the run is over."""
    asked, best = stop.asked(), False
    if asked or self.plan.pauses(self._step):
      with self.phases("step"):
        self.watch.flush()
    if self.watch.halted:
      self._go_back()
    if self._is_unseen():
      best = self._judge(stop)
      asked = asked or stop.asked()
    over = self._step == self.plan.steps or self._is_exhausted()
    due = best or over or self.plan.saves(self._step)
    if self._unsaved and (due or asked):
      self._save(best=best, due=due)
    if asked:
      if self.saves:
        self.saves.wait()
      raise signals.Stopped(stop.number, self._step)
    return over

  def _look(self, count: int, batch: Batch) -> None:
    """Writes the norms of every layer in the step that comes."""
    with self.phases("step"):
      self.watch.flush()
    values = self.probe(self.state, self.dataset, batch, count, self.phases)
    # The line belongs to the update: going on from here writes it again.
    self.watch.write(self._step + 1, probe.SPLIT, values)

  def _is_unseen(self) -> bool:
    if self.evaluate is None or not self.plan.evaluates(self._step):
      return False
    return self.state.decided["seen"] < self._step

  def _is_exhausted(self) -> bool:
    return decisions.exhausted(self.state, self.patience, self.plan.eval_every)

  def _judge(self, stop: signals.Flag) -> bool:
    """Evaluates, unless asked to stop; tells whether it is the best so far."""
    assert self.evaluate is not None
    with self.phases("evaluation"):
      state = self.state
      values = self.evaluate(state.evaluated, state.extra, stop.asked)
      if values is None:
        return False
      self.state, best = decisions.judge(
        state,
        self._step,
        values,
        self.best_by,
        self.plateau,
        self.plan.eval_every,
      )
      self.watch.write(self._step, "valid", values)
    self._unsaved = True
    return best

  def _save(self, *, best: bool, due: bool) -> None:
    """Saves the state; what is `due` counts as a step to go back to."""
    with self.phases("checkpoint"):
      if due:
        self.state = decisions.sure(self.state, self._step)
      if self.saves:
        decided = self.state.decided
        kept = {int(decided["best_step"]), int(decided["good"])}
        self.saves.save(self.state, kept, self.watch.mark(self._step))
      elif best and self.patience:
        self._champion = jax.tree.map(np.array, self.state)
    self._unsaved = False

  def _go_back(self) -> None:
    """Goes back to the last save, or gives up with an explanation."""
    self._feed.close()
    halted, back = self.state, None
    tries = int(halted.decided["recoveries"])
    if self.saves is not None and tries < self.recoveries:
      good = int(halted.decided["good"])
      back = self.saves.go_back(good, halted)
      if back is None and good < 0:
        back = self.create()
    if back is None:
      raise self.failure(halted)
    back = decisions.recovered(back, halted)
    log.warning(
      "step %d: %d updates in a row were not applied; going back to step %d, "
      "past the batches before %d, with %g of the learning rate",
      int(halted.step),
      int(halted.trouble["in_a_row"]),
      int(back.step),
      int(back.batch_index),
      float(back.rate_scale),
    )
    self._enter(back)
    self.watch.rewind(self._step)

  def _end(self) -> State:
    """Closes the checkpoints; returns the last state or the best one."""
    if not self._is_exhausted():
      if self.saves:
        self.saves.close()
      return self.state
    if self.saves:
      with self.phases("checkpoint"):
        self.saves.wait()
        best = int(self.state.decided["best_step"])
        if checkpoint.good(self.saves.folder, best):
          folder = self.saves.folder
          self._champion = checkpoint.restore(folder, self.state, best)
      self.saves.close()
    if self._champion is None:
      return self.state
    return self._placed(self._champion)

  def _placed(self, state: State) -> State:
    """Puts a copy of the state on every device, but for what is the host's."""
    placed = self.parallel.replicate(state.replace(decided={}))
    return placed.replace(decided=state.decided)


def _check_named(best_by: str, metrics: set[str]) -> None:
  """Checks that `best_by` is one of the `metrics`, maybe with a minus."""
  name = best_by.removeprefix("-")
  if name not in metrics:
    raise UserError(
      "expected training.best_by to name a metric of the validation",
      f"got {best_by!r}",
      nearest(name, metrics),
    )

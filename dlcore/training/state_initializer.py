"""The state that a run begins with, continues from, or rolls back to."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from dlcore import sharding, storage
from dlcore.errors import UserError
from dlcore.task import CARRY, FROZEN
from dlcore.training.decisions import Decisions, skip_failed_batches
from dlcore.training.memory import MemoryCheckpoints
from dlcore.training.state import State, run_key
from dlcore.typing import Batch, Initial

Create = Callable[..., State]
"""`(batch, variables=None) -> State`, a pure function."""


@dataclasses.dataclass(frozen=True)
class StateInitializer:
  """Creates the state of a run, restores it, or rolls it back."""

  create: Create
  batch: Batch
  seed: int
  initial: Initial | None
  partitioner: sharding.Partitioner
  save_frozen: bool = True
  """See `fit`."""

  @functools.cached_property
  def abstract(self) -> State:
    """The shapes of the state, and the key that must be the same."""
    abstract = jax.eval_shape(self.create, self.batch)
    return abstract.replace(key=np.asarray(run_key(self.seed)))

  @functools.cached_property
  def template(self) -> dict[str, Any]:
    """The shapes of a checkpoint."""
    return self.checkpoint(self.abstract, Decisions())

  def checkpoint(self, state: State, decisions: Decisions) -> dict[str, Any]:
    """Returns the tree of a checkpoint."""
    if not self.save_frozen:
      collections = dict(state.model_state)
      collections.pop(FROZEN, None)
      state = state.replace(model_state=collections)
    return {"state": state, "decisions": decisions}

  def restore_or_init(
    self, saved: Mapping[str, Any] | None
  ) -> tuple[State, Decisions]:
    """Returns the state and decisions of a checkpoint, or the first ones."""
    return self.init() if saved is None else self.restore(saved)

  def init(self) -> tuple[State, Decisions]:
    """Returns the state before the first step, and empty decisions."""
    state = self.program(self.batch)
    if self.initial is not None:
      variables = self.initial(state.params, state.model_state)
      state = self._create(self.batch, variables=variables)
    # On CPU, reading one array of a program that ran out of memory hangs;
    # waiting for all of them raises.
    jax.block_until_ready(state)
    return self.partitioner.put_state(state), Decisions()

  def restore(
    self, saved: Mapping[str, Any], current: State | None = None
  ) -> tuple[State, Decisions]:
    """Returns the state on its devices and the decisions of a checkpoint.

    Args:
      saved: the checkpoint.
      current: a state of the run with the frozen parameters, which otherwise
        are those of `initial` if the checkpoint does not have them.
    """
    state = saved["state"]
    if not self.save_frozen and FROZEN in self.abstract.model_state:
      current = current or self.init()[0]
      frozen = {FROZEN: current.model_state[FROZEN]}
      state = state.replace(model_state={**state.model_state, **frozen})
    return self.partitioner.put_state(state), saved["decisions"]

  def roll_back(
    self,
    halted: State,
    decisions: Decisions,
    checkpoints: storage.Checkpoints | MemoryCheckpoints,
  ) -> tuple[State, Decisions]:
    """Returns the state from which a halted run tries again.

    That is the one of the last save, or the first one if there is no save.

    Raises:
      UserError: the save is damaged.
    """
    step = int(decisions.saved_step)  # -1 removes all checkpoints.
    saved = checkpoints.roll_back(step, self.template)
    if saved is None and step >= 0:
      raise UserError(
        f"expected a good checkpoint of step {step}, to which this run rolls "
        "back after several skipped updates",
        "it is damaged or missing",
        "run the same command again: it continues from an older checkpoint",
      )
    carry = None
    if CARRY in halted.model_state:
      carry = self.program(self.batch).model_state[CARRY]
    kept = self.init() if saved is None else self.restore(saved, halted)
    state, decisions = skip_failed_batches(kept, (halted, decisions), carry)
    return self.partitioner.put_state(state), decisions

  @functools.cached_property
  def program(self) -> jax.stages.Compiled:
    """`create` compiled for `batch`: a rollback does not compile it again."""
    return self._create.lower(self.batch).compile()

  @functools.cached_property
  def _create(self) -> jax.stages.Wrapped:
    options = self.partitioner.init_compiler_options
    return jax.jit(self.create, compiler_options=options)

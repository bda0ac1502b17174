"""Texts that a model generates as training goes on, kept in the run folder."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from dlcore import sharding, storage
from dlcore.task import CARRY
from dlcore.training.intervals import Intervals
from dlcore.training.state import State, evaluation_variables
from dlcore.typing import ModelState, Params, PyTree

NAME = "assets/samples.json"
MAX_BYTES = 1 << 24

logger = logging.getLogger("dlcore")


class Samples(NamedTuple):
  """How a model generates texts from fixed prompts."""

  prompts: Sequence[str]

  generate: Callable[[Params, ModelState], PyTree]
  """Pure function with a fixed seed; compiled before the first step."""

  decode: Callable[[PyTree], Sequence[str]]
  """From its output, as NumPy arrays, to a text for each prompt."""

  references: Sequence[str] = ()
  """The true text for each prompt; empty without any."""


class SampleHistory:
  """Generates texts at evaluations 1, 2, 4, 8, ... and at the last one.

  A run of n evaluations has at most 2 + log2(n) of them. The file has the texts
  by step, and like the metric log those up to the current step only, so that a
  run that was stopped ends with the same file.
  """

  def __init__(
    self,
    samples: Samples | None,
    folder: Path | None,
    partitioner: sharding.Partitioner,
    intervals: Intervals,
  ):
    """Takes how texts are generated, None for no texts, and where they go.

    Args:
      samples: how texts are generated.
      folder: of the run, None for a run without one, which has no texts.
      partitioner: the devices.
      intervals: of the evaluations.
    """
    self._samples = None if folder is None else samples
    self._folder, self._partitioner = folder, partitioner
    self._intervals = intervals
    self._program: Callable[..., PyTree] | None = None
    self._entries: list[dict[str, Any]] = []

  def compile(self, state: State) -> None:
    """Compiles the generation; after a failure, a warning, there are no texts.

    Args:
      state: of the run.
    """
    if self._samples is None or self._program is not None:
      return
    generate = jax.jit(
      self._samples.generate,
      compiler_options=self._partitioner.compiler_options,
    )
    try:
      self._program = generate.lower(*self._place(state)).compile()
    except Exception as error:  # Samples must not cost the run.
      logger.warning("the run has no samples of the model: %r", error)
      self._samples = None

  def rewind(self, step: int) -> None:
    """Reads the texts of the run up to `step`, and removes later ones."""
    if self._samples is None:
      return
    known = self._read()
    self._entries = [entry for entry in known if entry["step"] <= step]
    if len(self._entries) < len(known):
      self._write(self._samples)

  def add(self, step: int, state: State, *, is_last: bool) -> None:
    """Generates and writes the texts of an evaluation, if they are due.

    Args:
      step: of the state.
      state: of the run.
      is_last: whether no evaluation follows.
    """
    if not (is_last or self._is_due(step)):
      return
    self.compile(state)
    if self._samples is None or self._program is None:
      return
    output = jax.device_get(self._program(*self._place(state)))
    texts = [*map(str, self._samples.decode(output))]
    self._entries.append({"step": step, "texts": texts})
    self._write(self._samples)

  def _is_due(self, step: int) -> bool:
    number, rest = divmod(step, self._intervals.eval_every)
    is_power = number & (number - 1) == 0
    return step == self._intervals.steps or (rest == 0 and is_power)

  def _place(self, state: State) -> tuple[Params, ModelState]:
    params, model_state = evaluation_variables(state)
    others = {k: tree for k, tree in model_state.items() if k != CARRY}
    return self._partitioner.replicate((params, others))

  def _read(self) -> list[dict[str, Any]]:
    """Returns the entries of the file, empty if it is missing or damaged."""
    assert self._folder is not None
    try:
      path = storage.checked_path(self._folder, NAME)
      entries = storage.read_json(path, max_bytes=MAX_BYTES)["samples"]
      return [{"step": int(e["step"]), "texts": e["texts"]} for e in entries]
    except FileNotFoundError:
      return []
    except (OSError, ValueError, LookupError, TypeError) as error:
      path = self._folder / NAME
      logger.warning("%s is begun again, without its samples: %s", path, error)
      return []

  def _write(self, samples: Samples) -> None:
    assert self._folder is not None
    content = {
      "prompts": [*samples.prompts],
      "references": [*samples.references],
      "samples": self._entries,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    storage.write_file(self._folder, NAME, text.encode("utf-8", "replace"))

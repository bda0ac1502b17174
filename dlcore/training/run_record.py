"""The record of everything that decides the numbers of a run of `fit`.

A run continues with the arguments it began with. Numbers are compared by
value, data by its checksums, the schedule by its rates, and functions by the
programs that JAX traces from them.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import data, optim, storage
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.training.fingerprint import digest_arrays, fingerprint
from dlcore.training.state import State

NAME = "assets/run_record.json"
MAX_BYTES = 1 << 22
"""Size above which the record is not read."""

ON_CHANGE = ("error", "warn")
"""The values of the argument `on_change` of `fit`."""

SETTINGS = (
  "seed",
  "accumulate",
  "ema",
  "spike_factor",
  "max_consecutive_skips",
  "plateau",
  "patience",
  "min_delta",
  "best_by",
)
"""The arguments of `fit` that change the numbers of a run."""

PROGRAMS = {
  "optimizer": "the optimizer, or of a setting of it such as weight_decay",
  "evaluation": "the evaluation of the task",
}
"""The traced programs but the step, which `step_history` compares."""

NUM_RATES = 5
"""Steps at which the learning rate is compared."""

logger = logging.getLogger("dlcore")


def describe(
  arguments: Mapping[str, Any],
  order: data.Order,
  splits: Mapping[str, data.Source],
) -> dict[str, Any]:
  """Returns the part of the record that needs no trace.

  Args:
    arguments: of `fit`.
    order: which examples make a batch.
    splits: the sources by name, `"train"` included.
  """
  settings = {name: arguments[name] for name in SETTINGS}
  if arguments["patience"] or arguments["plateau"]:
    settings["eval_every"] = arguments["eval_every"]
  if len(splits) == 1:  # Without validation.
    del settings["best_by"]
  settings["batch_size"] = order.batch_size
  for name, value in (arguments["settings"] or {}).items():
    settings[f"settings[{name!r}]"] = value
  initial = arguments["initial"]
  held = getattr(initial, "__closure__", None) or ()
  first = [order(arguments["seed"], index).index for index in (0, 1)]
  content = {
    "steps": arguments["steps"],
    "settings": settings,
    "data": {
      name: {"size": source.info.size, "sha256": source.info.sha256}
      for name, source in splits.items()
    },
    "order": digest_arrays(first),
    "initial": initial and digest_arrays([c.cell_contents for c in held]),
  }
  return json.loads(json.dumps(content, default=str))  # Tuples become lists.


def trace(
  task: Task,
  tx: optax.GradientTransformation,
  state: State,
  steps: Sequence[int],
  valid: data.Source | None,
) -> dict[str, Any]:
  """Returns the learning rates at `steps`, and checksums of traced programs.

  Args:
    task: the learning problem.
    tx: the optimizer.
    state: shapes and dtypes of the train state.
    steps: at which the rates are compared.
    valid: the source that is evaluated, or None.
  """
  update = optax.with_extra_args_support(tx).update

  def optimize(opt_state, params, step):
    zeros = jax.tree.map(jnp.zeros_like, params)
    return update(zeros, opt_state, params, step=step, rate_scale=1.0)

  def rate(step):
    # Of zeros: the rate depends on no array, and XLA removes all others.
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state.params)
    return optim.applied_rate(optimize(tx.init(zeros), zeros, step)[1])

  optimizer = jax.make_jaxpr(optimize)(
    state.opt_state, state.params, jnp.int32(0)
  )
  content: dict[str, Any] = {"optimizer": fingerprint(optimizer), "rates": {}}
  if jax.eval_shape(optim.applied_rate, state.opt_state) is not None:
    rates = jax.jit(jax.vmap(rate))(jnp.asarray(steps, jnp.int32))
    pairs = zip(steps, rates.tolist(), strict=True)
    content["rates"] = {str(step): value for step, value in pairs}
  if valid is not None:
    order = data.in_order(valid.size, 1)
    batch = next(iter(data.evaluation_batches(valid, order)))
    key = jax.random.key(0)
    variables = jax.eval_shape(task.init, key, batch)
    evaluation = jax.make_jaxpr(task.evaluate)(*variables, batch, key)
    content["evaluation"] = fingerprint(evaluation)
  return content


def rate_steps(recorded: Mapping[str, Any], steps: int) -> list[int]:
  """Returns the steps at which the rates of a run are compared."""
  known = [int(step) for step in recorded.get("rates", {})]
  return known or np.linspace(0, steps - 1, NUM_RATES).astype(int).tolist()


def check(
  workdir: Path,
  recorded: Mapping[str, Any],
  content: Mapping[str, Any],
  on_change: str,
) -> None:
  """Checks that a run continues with the arguments it began with.

  Args:
    workdir: the run folder.
    recorded: the content of its record.
    content: that of the call.
    on_change: `"error"`, or `"warn"` to continue with other arguments.

  Raises:
    UserError: an argument differs; contains the first two differences.
  """
  differences = list(_differences(recorded, content))
  if not differences:
    return
  refuse(workdir, "; ".join(differences[:2]), on_change)


def refuse(workdir: Path, difference: str, on_change: str) -> None:
  """Raises for a difference, or logs a warning.

  Raises:
    UserError: `on_change` is `"error"`.
  """
  if on_change == "warn":
    logger.warning("the run in %s continues with %s", workdir, difference)
    return
  raise UserError(
    f"expected the arguments with which the run in {workdir} began",
    f"got {difference}",
    "choose another workdir, take the change back, or set on_change='warn' to "
    "continue with it",
  )


def read(workdir: Path) -> dict[str, Any]:
  """Returns the record of a run, empty if it is missing or damaged."""
  try:
    path = storage.checked_path(workdir, NAME)
    content = storage.read_json(path, max_bytes=MAX_BYTES)
  except (OSError, ValueError):
    return {}
  sections = ("settings", "data", "rates")
  valid = all(isinstance(content.get(name), dict) for name in sections)
  rates = content["rates"] if valid else {}
  valid &= all(step.isdecimal() for step in rates)
  return content if valid and isinstance(content.get("steps"), int) else {}


def intervals(workdir: Path | None, steps: int) -> dict[str, int] | None:
  """Returns the intervals of the run of `steps` in `workdir`, None if new.

  Records of former versions have none.
  """
  if workdir is None or not any((workdir / "checkpoints").glob("*")):
    return None
  recorded = read(workdir)
  if recorded.get("steps") != steps:
    return None
  values = recorded.get("intervals")
  values = values if isinstance(values, dict) else {}
  return {k: v for k, v in values.items() if isinstance(v, int) and v > 0}


def write(workdir: Path, content: Mapping[str, Any]) -> None:
  """Writes the record of a run, if it has changed."""
  if content != read(workdir):
    text = json.dumps(content, indent=1) + "\n"
    storage.write_file(workdir, NAME, text.encode())


def _differences(
  old: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[str]:
  """Yields the arguments that differ, those with a value first."""
  if new["steps"] < old["steps"]:
    yield f"fewer steps: {old['steps']} in the run, {new['steps']} now"
  for name, value in new["settings"].items():
    before = old["settings"].get(name, value)
    if before != value:
      yield f"another {name}: {before!r} in the run, {value!r} now"
  for name in dict.fromkeys([*old["data"], *new["data"]]):
    before, value = old["data"].get(name), new["data"].get(name)
    if before != value:
      yield (
        f"other {name} data: {_describe_split(before)} in the run, "
        f"{_describe_split(value)} now"
      )
  for step, value in new["rates"].items():
    before = old["rates"].get(step, value)
    if not np.isclose(before, value, rtol=1e-5, atol=0):
      yield (
        f"another learning rate: {before:.6g} at step {step} in the run, "
        f"{value:.6g} now (some schedules depend on the number of steps)"
      )
      break
  if new["order"] != old.get("order", new["order"]):
    yield "another order of the examples"
  initial = new["initial"], old.get("initial")
  if None not in initial and initial[0] != initial[1]:
    yield "other initial weights"
  if old.get("conditions") == new["conditions"]:
    for name, title in PROGRAMS.items():
      if new.get(name) != old.get(name, new.get(name)):
        yield f"a change of {title}"


def _describe_split(split: Mapping[str, Any] | None) -> str:
  if not isinstance(split, Mapping):
    return "none"
  return f"{split.get('size')} examples, sha256 {str(split.get('sha256'))[:8]}"

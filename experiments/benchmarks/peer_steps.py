"""Training steps of the same model in dlcore and in PyTorch."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from benchmarks import problems, torch_models

from dlcore import data, sharding, tasks, training, transfer
from dlcore.data import Source
from dlcore.task import Task
from dlcore.training.programs import gather
from dlcore.transfer.io import safetensors


class Peer(NamedTuple):
  """The same model in both libraries."""

  dlcore: Callable[[], Task]
  torch: Callable
  source: Callable[[], Source]
  batch: int
  steps: int
  """Steps of one measurement."""

  channels_last: bool = False
  order: Callable[[int, int], data.Order] = data.shuffled
  module: Callable[[], Any] | None = None
  """The model of dlcore whose initial weights PyTorch starts with."""

  family: str = ""
  """Family of the names of these weights in PyTorch."""


def _batches(peer: Peer, size: int) -> list[dict[str, np.ndarray]]:
  """Returns the rows of each batch, by the names that `gather` takes."""
  order = peer.order(size, peer.batch)
  rows = [order(0, i) for i in range(peer.steps)]
  return [
    {"index": row.index}
    if row.begins is None
    else {"index": row.index, "begins": row.begins}
    for row in rows
  ]


def _init_state(peer: Peer, task: Task, source: Source) -> training.State:
  rows = _batches(peer, source.size)[0]
  example = {**source.read(rows["index"]), **rows}
  return training.init_state(task, problems.optimizer(), example)


def steps_of_dlcore(peer: Peer, source: Source) -> Callable[[], Sequence]:
  """Returns a function that makes steps of dlcore and returns their losses."""
  task = peer.dlcore()
  devices = jax.devices()[:1]
  partitioner = sharding.partitioner(peer.batch, devices=devices)
  arrays = partitioner.replicate(data.read_all(source))
  batches = _batches(peer, source.size)
  state = partitioner.put_state(_init_state(peer, task, source))
  step = training.make_step(task, problems.optimizer())

  def gather_and_step(state, arrays, rows):
    return step(state, gather(arrays, rows))

  run = partitioner.compile(gather_and_step, state, arrays, batches[0])

  def steps() -> list:
    nonlocal state
    losses = []
    for batch in batches:
      state, log = run(state, arrays, batch)
      losses.append(log["loss"])
    jax.block_until_ready(state)
    return losses

  return steps


def steps_of_torch(peer: Peer, source: Source, torch) -> Callable[[], Sequence]:
  """Returns the same for PyTorch."""
  schema = source.info.schema
  images = schema.input == "image"
  arrays = data.read_all(source)
  array = arrays[schema.input]
  inputs = torch.from_numpy(
    array.transpose(0, 3, 1, 2).copy() if images else array
  )
  labels = torch.from_numpy(arrays[schema.target]).long()
  last, first = torch.channels_last, torch.contiguous_format
  layout = last if peer.channels_last else first
  model = peer.torch(torch)
  if peer.module:
    weights = published_weights(peer, peer.module(), source)
    torch_models.load_weights(model, weights, torch)
  model = model.to(memory_format=layout).train()
  batches = [
    (
      torch.from_numpy(rows["index"].astype(np.int64)),
      "begins" in rows and rows["begins"].any(),
    )
    for rows in _batches(peer, source.size)
  ]
  tx = torch.optim.AdamW(
    model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True
  )
  criterion = torch.nn.CrossEntropyLoss()

  def steps() -> list:
    losses = []
    for batch, begins in batches:
      if begins:
        model.reset()
      x = inputs[batch]
      if images:
        x = ((x.float() / 255 - 0.5) / 0.29).contiguous(memory_format=layout)
      logits = model(x).flatten(0, -2)
      loss = criterion(logits, labels[batch].flatten())
      tx.zero_grad(set_to_none=True)
      loss.backward()
      tx.step()
      losses.append(loss.detach())
    return losses

  return steps


def published_weights(
  peer: Peer, module: Any, source: Source
) -> Mapping[str, np.ndarray]:
  """Returns the initial weights of dlcore with their published names.

  Args:
    peer: has the task and the family of the names.
    module: the model of the task.
    source: the data.
  """
  task = peer.dlcore()
  variables = tasks.variables(task, _init_state(peer, task, source))
  with tempfile.TemporaryDirectory() as folder:
    transfer.save_pretrained(folder, module, variables, family=peer.family)
    arrays = safetensors.File(Path(folder) / "model.safetensors")
    return {name: np.array(array) for name, array in arrays.items()}

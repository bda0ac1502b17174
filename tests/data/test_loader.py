import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import data
from dlcore.errors import UserError
from dlcore.training import programs


@pytest.fixture
def sources():
  values = np.arange(46, dtype=np.float32).reshape(23, 2)
  resident = data.from_arrays({"features": values})
  return resident, resident._replace(arrays=None)


def _equal(first, second):
  first, second = list(first), list(second)
  assert len(first) == len(second) > 0
  for one, other in zip(first, second, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])


ORDER = data.shuffled(23, 4)


def test_both_paths_give_the_same_batches(sources):
  resident, streamed = sources
  _equal(
    data.batches(resident, ORDER, 0, 0, 20),
    data.batches(streamed, ORDER, 0, 0, 20),
  )
  evaluation = data.in_order(23, 4)
  _equal(
    data.evaluation_batches(resident, evaluation),
    data.evaluation_batches(streamed, evaluation),
  )
  batch = next(data.batches(streamed, ORDER, 5, 2))
  np.testing.assert_array_equal(batch["index"], ORDER(5, 2).index)
  np.testing.assert_array_equal(batch["slot"], np.arange(4))
  assert {batch[name].dtype for name in ("index", "slot")} == {np.dtype("i4")}
  np.testing.assert_array_equal(
    batch["features"], resident.arrays["features"][batch["index"]]
  )
  assert batch.keys() == {"features", "index", "slot"}


def test_a_stream_may_start_anywhere_with_any_number_of_threads(sources):
  _, streamed = sources
  straight = list(data.batches(streamed, ORDER, 0, 0, 30, threads=1))
  _equal(straight[11:], data.batches(streamed, ORDER, 0, 11, 30, threads=8))


@pytest.mark.slow
def test_worker_processes_change_nothing(sources):
  _, streamed = sources
  _equal(
    data.batches(streamed, ORDER, 0, 3, 12),
    data.batches(streamed, ORDER, 0, 3, 12, workers=2, threads=1),
  )


def test_evaluation_has_every_example_once_and_masks_the_padding(sources):
  for source in sources:
    batches = list(data.evaluation_batches(source, data.in_order(23, 5)))
    mask = np.concatenate([batch["mask"] for batch in batches])
    index = np.concatenate([batch["index"] for batch in batches])
    assert [len(batch["features"]) for batch in batches] == [5] * 5
    assert index[mask == 1].tolist() == list(range(23))
    assert index[mask == 0].tolist() == [0, 0]
    assert (mask.dtype, index.dtype) == (np.float32, np.int32)


def test_evaluation_in_streams_has_every_example_once(sources):
  order = data.sequential(23, 5)
  batches = list(data.evaluation_batches(sources[0], order))
  index = np.concatenate([b["index"][b["mask"] == 1] for b in batches])
  assert sorted(index) == list(range(23))
  assert batches[0]["begins"].all()


def test_training_batches_of_a_padded_order_all_have_a_mask(sources):
  padded, full = data.sequential(23, 4), data.sequential(23, 23)
  batches = list(data.batches(sources[0], padded, 0, 0, 6))
  assert [int(batch["mask"].sum()) for batch in batches] == [4, 4, 4, 4, 4, 3]
  assert "mask" not in next(data.batches(sources[0], full, 0))


@pytest.fixture
def sequences():
  """Sequences of token ids, padded with 0 to 40."""
  random = np.random.default_rng(0)
  lengths = random.integers(1, 41, 200).astype(np.int32)
  mask = (np.arange(40) < lengths[:, None]).astype(np.int32)
  ids = random.integers(1, 50, (200, 40)).astype(np.int32) * mask
  labels = (ids[:, 0] % 2).astype(np.int32)
  arrays = {"input_ids": ids, "attention_mask": mask, "label": labels}
  return data.from_arrays(arrays, classes=["a", "b"], lengths=lengths)


def test_sequences_are_cut_to_few_shapes_and_lose_only_padding(sequences):
  order = data.bucketed(sequences.lengths, 16)
  shapes = set()
  for batch in data.batches(sequences, order, 0, 0, 60):
    shapes.add(batch["input_ids"].shape)
    assert batch["attention_mask"].shape == batch["input_ids"].shape
    np.testing.assert_array_equal(
      batch["attention_mask"].sum(axis=1), sequences.lengths[batch["index"]]
    )
    whole = sequences.arrays["input_ids"][batch["index"]]
    assert batch["input_ids"].sum() == whole.sum()
    assert batch["label"].shape == (16,)
  assert shapes == {(16, length) for length in order.shapes}
  assert 2 <= len(shapes) <= 5


def test_an_abandoned_stream_ends_its_threads(sources):
  before = set(threading.enumerate())
  stream = data.batches(sources[1], ORDER, 0)
  next(stream)
  started = set(threading.enumerate()) - before
  assert started
  stream.close()
  end = time.monotonic() + 5
  while any(thread.is_alive() for thread in started) and time.monotonic() < end:
    time.sleep(0.01)
  assert not any(thread.is_alive() for thread in started)


class Bad:
  """Fails as a source with a malformed file does."""

  def __call__(self, indices):
    raise UserError("expected a good file", "got a bad one", "fix it")


def test_errors_of_the_data_are_raised_through_the_threads(sources):
  source = sources[1]._replace(read=Bad())
  with pytest.raises(UserError, match="got a bad one") as caught:
    next(data.batches(source, ORDER, 0))
  assert len(caught.value.lines) == 3


def test_arrays_of_the_loader_replace_those_of_a_source_on_every_path(sources):
  resident, _ = sources
  arrays = {**resident.arrays, "slot": np.full(23, 9, np.int32)}
  streamed = resident._replace(
    arrays=None, read=lambda rows: {k: a[rows] for k, a in arrays.items()}
  )
  batch = next(data.batches(streamed, ORDER, 0, 0, 1))
  rows = data.rows_to_arrays(ORDER(0, 0), mask=False)
  on_device = {name: jnp.asarray(array) for name, array in arrays.items()}
  gathered = programs.gather(on_device, rows)
  for result in (batch, gathered):
    assert result["slot"].tolist() == [0, 1, 2, 3]

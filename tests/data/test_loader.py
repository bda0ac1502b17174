import threading
import time

import numpy as np
import pytest

from dlcore import data
from dlcore.errors import UserError


@pytest.fixture
def sources():
  values = np.arange(46, dtype=np.float32).reshape(23, 2)
  held = data.from_arrays({"features": values})
  return held, held._replace(arrays=None)


def _equal(first, second):
  first, second = list(first), list(second)
  assert len(first) == len(second) > 0
  for one, other in zip(first, second, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name])


def test_both_paths_give_the_same_batches(sources):
  held, streamed = sources
  _equal(data.batches(held, 0, 4, 0, 20), data.batches(streamed, 0, 4, 0, 20))
  _equal(data.evaluation_batches(held, 4), data.evaluation_batches(streamed, 4))
  batch = next(data.batches(streamed, 5, 4, 2))
  np.testing.assert_array_equal(batch["index"], data.indices(5, 2, 23, 4))
  np.testing.assert_array_equal(
    batch["features"], held.arrays["features"][batch["index"]]
  )


def test_a_stream_may_start_anywhere_with_any_number_of_threads(sources):
  _, streamed = sources
  straight = list(data.batches(streamed, 0, 4, 0, 30, threads=1))
  _equal(straight[11:], data.batches(streamed, 0, 4, 11, 30, threads=8))


def test_worker_processes_change_nothing(sources):
  _, streamed = sources
  _equal(
    data.batches(streamed, 0, 4, 3, 12),
    data.batches(streamed, 0, 4, 3, 12, workers=2, threads=1),
  )


def test_evaluation_sees_every_example_once_and_marks_the_filling(sources):
  for source in sources:
    batches = list(data.evaluation_batches(source, 5))
    mask = np.concatenate([batch["mask"] for batch in batches])
    index = np.concatenate([batch["index"] for batch in batches])
    assert [len(batch["features"]) for batch in batches] == [5] * 5
    assert index[mask == 1].tolist() == list(range(23))
    assert index[mask == 0].tolist() == [0, 0]
    assert (mask.dtype, index.dtype) == (np.float32, np.int32)


def test_an_abandoned_stream_ends_its_threads(sources):
  before = set(threading.enumerate())
  stream = data.batches(sources[1], 0, 4)
  next(stream)
  started = set(threading.enumerate()) - before
  assert started
  stream.close()
  end = time.monotonic() + 5
  while any(thread.is_alive() for thread in started) and time.monotonic() < end:
    time.sleep(0.01)
  assert not any(thread.is_alive() for thread in started)


class Bad:
  """Fails as a source does that meets a bad file."""

  def __call__(self, indices):
    raise UserError("expected a good file", "got a bad one", "mend it")


def test_what_is_wrong_with_the_data_is_told_through_the_threads(sources):
  source = sources[1]._replace(read=Bad())
  with pytest.raises(UserError, match="got a bad one") as caught:
    next(data.batches(source, 0, 4))
  assert len(caught.value.lines) == 3

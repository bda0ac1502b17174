"""Variables of a checkpoint are restored for data of any dtype."""

import jax
import numpy as np

from dlcore import data, experiment, models, storage, tasks
from dlcore.experiment import restoring


def test_inputs_of_64_bits_are_restored_without_a_warning(tmp_path):
  ids = np.arange(12).reshape(4, 3)
  assert ids.dtype == np.int64
  arrays = {"input_ids": ids, "label": np.array([0, 1, 0, 1])}
  info = data.from_arrays(arrays, classes=("a", "b")).info
  model = models.create("lstm", vocab_size=12, width=4, num_classes=2)
  task = tasks.TASKS["classification"].build(model, info)
  batch = {"input_ids": ids.astype(np.int32)}
  params, _ = task.init(jax.random.key(0), batch)
  folder = experiment.RunFolder(tmp_path)
  with storage.Checkpoints(folder.checkpoints) as checkpoints:
    checkpoints.save(1, {"state": {"params": params}, "decisions": {}})
  # Warnings are errors here.
  restored, _ = restoring.restore_variables(folder, 1, model, task, info)
  jax.tree.map(np.testing.assert_array_equal, restored, params)

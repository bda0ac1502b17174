"""The metrics of regression, in the units of the target."""

import jax
import numpy as np
import pytest
from sklearn import metrics

from dlcore import data, models, optim, tasks, training


def test_metrics_of_padded_batches_are_those_of_scikit_learn():
  generator = np.random.default_rng(0)
  features = generator.normal(size=(37, 3)).astype(np.float32)
  target = 1000 + 50 * (features @ [1.0, -2.0, 0.5] + generator.normal(size=37))
  arrays = {"features": features, "target": target.astype(np.float32)}
  source = data.make_splits(
    {"train": arrays}, data.ArraySchema(), name="line", valid_fraction=0.0
  ).train
  kind = tasks.TASKS["regression"]
  model = models.create("mlp", widths=(), **kind.model_arguments(source.info))
  task = kind.build(model, source.info)
  tx = optim.create("sgd", learning_rate=0.1)
  state = training.init_state(task, tx, source.read(np.arange(8)))
  evaluator = training.Evaluator(task, source, batch_size=16)
  values = evaluator(state)
  variables = training.evaluation_variables(state)
  prediction = evaluator.predict(*variables)["prediction"]
  assert prediction.shape == (37,)
  target = arrays["target"]
  squared = metrics.mean_squared_error(target, prediction)
  assert values == pytest.approx(
    {
      "loss": squared / target.var(),
      "mae": metrics.mean_absolute_error(target, prediction),
      "rmse": squared**0.5,
      "r2": metrics.r2_score(target, prediction),
    },
    rel=1e-4,
  )


def test_r2_of_equal_targets_is_undefined():
  source = data.from_arrays(
    {"features": np.eye(4, dtype="f"), "target": np.full(4, 2.5, np.float32)}
  )
  task = tasks.regression(models.MLP(num_classes=1, widths=()))
  variables = task.init(jax.random.key(0), source.read(np.arange(4)))
  values = training.Evaluator(task, source).evaluate(*variables)
  assert np.isnan(values["r2"])
  assert values["rmse"] == pytest.approx(values["loss"] ** 0.5)

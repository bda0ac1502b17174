"""Runs in one program make the updates of runs of their own."""

import jax
import numpy as np
import pytest

from dlcore import data, models, optim, tasks, training
from dlcore.errors import UserError
from dlcore.training import Member, Parts, Population
from dlcore.training.population import EXHAUSTED, FINISHED, HALTED, STOPPED

STEPS, BATCH = 200, 32
SPLITS = data.load("digits")
HPARAMS = {"rate": 3e-3, "decay": 0.1, "dropout": 0.2, "l2": 1e-4, "clip": 1.0}


def build(hparams):
  model = models.create(
    "mlp", num_classes=10, widths=(24,), dropout=hparams["dropout"]
  )
  normalization = SPLITS.train.info.schema.normalization
  task = tasks.classification(model, normalization=normalization)
  rate = optim.schedule(
    "warmup_cosine", learning_rate=hparams["rate"], steps=STEPS
  )
  tx = optim.create(
    "adamw",
    learning_rate=rate,
    weight_decay=hparams["decay"],
    clip_norm=hparams["clip"],
  )
  return Parts(task, tx, optim.penalty(l2=hparams["l2"]))


def member(seed=0, **changes):
  return Member({**HPARAMS, **changes}, seed)


def population(**settings):
  settings = {
    "steps": STEPS,
    "batch_size": BATCH,
    "ema": 0.9,
    "eval_every": 50,
    "devices": jax.devices()[:1],
    **settings,
  }
  return Population(build, SPLITS.train, SPLITS.valid, **settings)


def solo(one, **settings):
  """Returns the metrics of every evaluation of a run of its own."""
  parts, values = build(one.hparams), {}
  training.fit(
    parts.task,
    parts.tx,
    SPLITS.train,
    SPLITS.valid,
    penalty=parts.penalty,
    **{
      "steps": STEPS,
      "seed": one.seed,
      "batch_size": BATCH,
      "ema": 0.9,
      "eval_every": 50,
      "devices": jax.devices()[:1],
      "progress": False,
      **settings,
    },
    on_evaluation=lambda step, metrics: values.update({step: metrics}),
  )
  return values


def curves(members, **settings):
  """Returns the results, and the metrics of every evaluation by member."""
  values = [{} for _ in members]

  def follow(step, metrics):
    for index, one in metrics.items():
      values[index][step] = one
    return ()

  return population(**settings).fit(members, follow), values


MEMBERS = [
  member(),
  member(rate=1e-3, decay=0.0, dropout=0.4),
  member(seed=3, clip=float("inf"), l2=0.0),
]


@pytest.mark.fast_cases("10")
@pytest.mark.parametrize("steps_per_call", [1, 10])
def test_each_member_equals_its_own_run(steps_per_call):
  results, values = curves(MEMBERS, steps_per_call=steps_per_call)
  for one, result, curve in zip(MEMBERS, results, values, strict=True):
    expected = solo(one)
    assert curve.keys() == expected.keys() == {50, 100, 150, 200}
    for step, metrics in expected.items():
      np.testing.assert_allclose(
        curve[step]["loss"], metrics["loss"], rtol=1e-5
      )
    best = min(expected, key=lambda step: expected[step]["loss"])
    assert (result.outcome, result.best_step) == (FINISHED, best)
    assert result.values == curve[best]


def test_the_best_variables_are_those_of_the_best_step():
  one = member(rate=0.03)
  [result], [values] = curves([one], steps=100, eval_every=20)
  best = min(values, key=lambda step: values[step]["loss"])
  evaluator = training.Evaluator(build(one.hparams).task, SPLITS.valid)
  metrics = evaluator.evaluate(*result.variables)
  np.testing.assert_allclose(metrics["loss"], values[best]["loss"], rtol=1e-6)


def test_one_member_alone_has_the_bits_of_its_run():
  one = MEMBERS[1]
  assert curves([one])[1][0] == solo(one)


@pytest.mark.slow
def test_a_member_that_diverges_halts_without_changing_the_others():
  bad = member(rate=float("inf"))
  results, values = curves([MEMBERS[0], bad, MEMBERS[1]])
  assert [r.outcome for r in results] == [FINISHED, HALTED, FINISHED]
  assert results[1].step == 50
  _, alone = curves([MEMBERS[0], MEMBERS[1]])
  for with_bad, without in zip(values[::2], alone, strict=True):
    np.testing.assert_allclose(
      with_bad[200]["loss"], without[200]["loss"], rtol=1e-5
    )


@pytest.mark.slow
def test_members_that_the_caller_stops_leave_the_program():
  members = [member(rate=rate) for rate in (1e-3, 2e-3, 3e-3, 4e-3)]
  seen = {}

  def stop(step, metrics):
    seen[step] = sorted(metrics)
    return {50: [0, 2], 100: [3]}.get(step, [])

  results = population().fit(members, stop)
  assert seen == {50: [0, 1, 2, 3], 100: [1, 3], 150: [1], 200: [1]}
  assert [r.outcome for r in results] == [STOPPED, FINISHED, STOPPED, STOPPED]
  assert [r.step for r in results] == [50, 200, 50, 100]
  expected = solo(members[1])
  np.testing.assert_allclose(
    results[1].values["loss"],
    min(one["loss"] for one in expected.values()),
    rtol=1e-5,
  )
  assert all(result.variables is not None for result in results)


@pytest.mark.slow
def test_patience_and_plateau_are_of_each_member():
  settings = {
    "patience": 3,
    "plateau": training.Plateau(factor=0.1, patience=2),
    "eval_every": 10,
    "best_by": "accuracy",
  }
  members = [member(rate=0.0), member(rate=3e-3), member(rate=0.03)]
  results, values = curves(members, **settings)
  assert results[0].outcome == EXHAUSTED
  for one, curve in zip(members, values, strict=True):
    expected = solo(one, **settings)
    assert curve.keys() == expected.keys()
    last = max(curve)
    np.testing.assert_allclose(
      curve[last]["loss"], expected[last]["loss"], rtol=1e-4
    )


@pytest.mark.slow
def test_eight_devices_share_the_members_without_communication():
  members = [member(rate=rate) for rate in np.geomspace(1e-4, 1e-2, 10)]
  several = population(devices=jax.devices(), steps=20, eval_every=10)
  losses = [r.values["loss"] for r in several.fit(members)]
  one = population(steps=20, eval_every=10).fit(members)
  expected = [r.values["loss"] for r in one]
  np.testing.assert_allclose(losses, expected, rtol=1e-6)
  [program] = several._programs._compiled.values()
  text = program.as_text()
  for collective in ("all-reduce", "all-gather", "collective-permute"):
    assert collective not in text


@pytest.mark.slow
def test_streamed_data_gives_the_same_batches():
  members = [MEMBERS[0], MEMBERS[2]]
  settings = {"steps": 20, "eval_every": 10}
  _, resident = curves(members, **settings)
  _, streamed = curves(members, placement="stream", **settings)
  for a, b in zip(resident, streamed, strict=True):
    np.testing.assert_allclose(a[20]["loss"], b[20]["loss"], rtol=1e-6)


def test_initial_weights_replace_the_random_ones():
  donor = build(HPARAMS).task
  batch = SPLITS.train.read(np.arange(BATCH, dtype=np.int32))
  params, _ = donor.init(jax.random.key(7), batch)
  [result] = population(
    steps=1, eval_every=1, ema=0.0, initial=lambda p, s: (params, s)
  ).fit([member(rate=0.0)])
  jax.tree.map(np.testing.assert_array_equal, result.variables[0], params)


def test_members_of_other_hyperparameters_are_refused():
  with pytest.raises(UserError, match="the same names"):
    population().fit([member(), Member({"rate": 1e-3})])
  with pytest.raises(UserError, match="got none"):
    population().fit([])


def test_an_unknown_metric_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="accuracy"):
    population(best_by="acuracy", steps=2, eval_every=1).fit([member()])

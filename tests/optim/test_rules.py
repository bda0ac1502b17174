"""Rules over parameter paths, bounds on the gradient, penalties."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import optim, trees
from dlcore.errors import UserError


def twos(*shape):
  # NumPy: nothing is compiled while tests are collected.
  return np.full(shape, 2.0, np.float32)


PARAMS = {
  "embed": {"embedding": twos(4, 2)},
  **{
    f"block_{i}": {"kernel": twos(2, 2), "bias": twos(2)} for i in (0, 1, 2, 10)
  },
  "norm": {"scale": twos(2)},
  "head": {"kernel": twos(2, 3), "bias": twos(3)},
}
ONES = jax.tree.map(np.ones_like, PARAMS)
LAYERS = ("embed", r"block_(\d+)", "head")


def update(grads=ONES, params=PARAMS, *, name="sgd", **settings):
  tx = optim.create(name, learning_rate=1.0, **settings)
  return trees.flatten(tx.update(grads, tx.init(params), params)[0])


def test_rates_multiply_by_the_first_pattern_that_matches():
  rates = (("head/bias", 0.0), ("head", 10), ("bias$", 0.5))
  for path, leaf in update(rates=rates).items():
    expected = {"head/bias": 0.0, "head/kernel": 10.0}.get(path)
    if expected is None:
      expected = 0.5 if path.endswith("bias") else 1.0
    np.testing.assert_array_equal(leaf, -expected)


def test_layer_decay_falls_from_the_output_to_the_input():
  updates = update(layers=LAYERS, layer_decay=0.5)
  depths = {"head": 0, "block_10": 1, "block_2": 2, "block_1": 3, "block_0": 4}
  depths |= {"embed": 5, "norm": 0}  # No pattern matches norm.
  for path, leaf in updates.items():
    np.testing.assert_array_equal(leaf, -(0.5 ** depths[path.split("/")[0]]))


def test_layer_decay_and_rates_are_multiplied():
  rates = (("block_0", 4.0),)
  updates = update(layers=LAYERS, layer_decay=0.5, rates=rates)
  np.testing.assert_array_equal(updates["block_0/kernel"], -(0.5**4) * 4)


def test_frozen_layers_do_not_change_the_rates_of_others():
  part = {key: PARAMS[key] for key in ("block_2", "block_10", "head")}
  ones = {key: ONES[key] for key in part}
  whole = update(layers=LAYERS, layer_decay=0.5)
  for path, leaf in update(ones, part, layers=LAYERS, layer_decay=0.5).items():
    np.testing.assert_array_equal(leaf, whole[path])


def test_no_decay_is_a_pattern():
  settings = {"weight_decay": 0.5, "no_decay": "embed|bias"}
  for path, leaf in update(optax.tree.zeros_like(ONES), **settings).items():
    excluded = "embed" in path or "bias" in path
    np.testing.assert_array_equal(leaf, 0.0 if excluded else -1.0)


def gradient(scale=1.0):
  # NumPy: JAX would compile a program for every shape.
  normal = np.random.default_rng(0).normal
  leaves, structure = jax.tree.flatten(PARAMS)
  leaves = [
    (scale * (1 + i) * normal(size=leaf.shape)).astype(np.float32)
    for i, leaf in enumerate(leaves)
  ]
  return jax.tree.unflatten(structure, leaves)


def norms(flat):
  return {path: float(jnp.linalg.norm(leaf)) for path, leaf in flat.items()}


KINDS = ["clip_norm", "clip_value", "clip_layer", "clip_adaptive"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_gradient_is_not_clipped(kind):
  small = gradient(1e-3)
  for path, leaf in update(small, **{kind: 1.0}).items():
    np.testing.assert_array_equal(-leaf, trees.flatten(small)[path])


def test_clip_norm_bounds_the_global_norm_and_keeps_the_direction():
  grads = trees.flatten(gradient())
  clipped = update(gradient(), clip_norm=0.5)
  assert optax.tree.norm(clipped) == pytest.approx(0.5)
  ratio = 0.5 / float(optax.tree.norm(grads))
  for path, leaf in clipped.items():
    np.testing.assert_allclose(-leaf, ratio * grads[path], rtol=1e-5)


def test_clip_value_bounds_every_entry():
  grads = trees.flatten(gradient())
  for path, leaf in update(gradient(), clip_value=0.7).items():
    np.testing.assert_array_equal(-leaf, np.clip(grads[path], -0.7, 0.7))


def test_clip_layer_bounds_the_norm_of_every_array():
  before = norms(trees.flatten(gradient()))
  for path, norm in norms(update(gradient(), clip_layer=4.0)).items():
    assert norm == pytest.approx(min(before[path], 4.0), rel=1e-5)


def test_clip_adaptive_bounds_each_unit_by_its_weights():
  grads = trees.flatten(gradient())["head/kernel"]
  clipped = -update(gradient(), clip_adaptive=0.01)["head/kernel"]
  bound = 0.01 * jnp.linalg.norm(PARAMS["head"]["kernel"], axis=0)
  np.testing.assert_allclose(jnp.linalg.norm(clipped, axis=0), bound, rtol=1e-5)
  np.testing.assert_allclose(
    clipped / jnp.linalg.norm(clipped, axis=0),
    grads / jnp.linalg.norm(grads, axis=0),
    rtol=1e-5,
  )


def test_clips_apply_from_single_entries_to_the_global_norm():
  limits = {"clip_value": 0.5, "clip_layer": 0.6, "clip_norm": 0.7}
  grads = jax.tree.map(lambda leaf: jnp.clip(leaf, -0.5, 0.5), gradient())
  grads = jax.tree.map(
    lambda leaf: leaf * jnp.minimum(1, 0.6 / jnp.linalg.norm(leaf)), grads
  )
  expected = trees.flatten(
    optax.tree.scale(0.7 / optax.tree.norm(grads), grads)
  )
  for path, leaf in update(gradient(), **limits).items():
    np.testing.assert_allclose(-leaf, expected[path], rtol=1e-5)


def test_the_gradient_of_the_penalty_is_zero_for_biases():
  grads = trees.flatten(jax.grad(optim.penalty(l1=0.25, l2=0.5))(PARAMS))
  np.testing.assert_allclose(grads["head/kernel"], 0.25 + 0.5 * 2)
  np.testing.assert_array_equal(grads["head/bias"], 0)
  assert optim.penalty() is None


MOST = float(np.finfo(np.float32).max)
INSIDE_AND_OUTSIDE = {
  "alpha eps_root initial_accumulator_value initial_scale l1 l2 learning_rate "
  "weight_decay": ((0, MOST), (-1e-30, 2 * MOST, np.inf)),
  "clip_adaptive clip_layer clip_norm clip_value": (
    (0, MOST, np.inf),
    (-1e-30, 2 * MOST, -np.inf),
  ),
  "clipping_threshold consistent_rms power trust_coefficient": (
    (1e-30, MOST),
    (0, 2 * MOST),
  ),
  "cooldown decay_rate factor final initial min_scale plateau.factor "
  "plateau.min_scale warmup": ((0, 1), (-1e-30, 1 + 1e-9)),
  "adam_b1 adam_b2 b1 b2 b3 beta betas decay momentum rho": (
    (0, 1 - 1e-7),
    (-1e-30, 1 - 1e-9, 1),
  ),
  "boundaries min_dim_size_to_factor patience steps": (
    (1, 2**31 - 1),
    (0, 2**31),
  ),
  "warmup_steps": ((0, 2**31 - 1), (-1, 2**31)),
  "eps": ((1e-16, MOST), (0.99e-16, 2 * MOST)),
  "adafactor.eps": ((1e-30, MOST), (0.99e-30, 2 * MOST)),
  "estim_lr0": ((1e-7, 1), (0.99e-7, 1.01)),
  "layer_decay": ((1e-30, 1), (0, 1.01)),
  "one_cycle.warmup": ((0, 0.5), (-1e-30, 0.51)),
  "schedule_free_adamw.b1 schedule_free_sgd.b1": (
    (1e-6, 1 - 1e-6),
    (0.99e-6, 1 - 0.99e-6),
  ),
}


def test_the_ranges_of_settings_end_where_they_are_documented():
  tested = set()
  for names, (inside, outside) in INSIDE_AND_OUTSIDE.items():
    for name in names.split():
      tested.add(name)
      holds = optim.RANGES[name].holds
      assert [x for x in (*inside, *outside) if holds(x)] == list(inside), name
  assert tested == optim.RANGES.keys()
  static = {name for name, limits in optim.RANGES.items() if limits.static}
  assert static == {
    *("boundaries", "min_dim_size_to_factor", "patience", "steps"),
    *("cooldown", "plateau.factor", "plateau.min_scale"),
    *("warmup", "one_cycle.warmup", "warmup_steps"),
  }


@pytest.mark.parametrize(
  "settings",
  [
    *({"name": "schedule_free_sgd", "b1": b1} for b1 in (1e-6, 1 - 1e-6)),
    {"name": "adafactor", "eps": 1e-30},
    {"name": "adamw", "b1": 0.0, "eps": 1e-16},
  ],
)
def test_the_limits_of_a_range_belong_to_it_and_give_finite_numbers(settings):
  tx = optim.create(settings.pop("name"), learning_rate=0.1, **settings)
  params = {"kernel": jnp.ones((3, 2))}
  updates, _ = tx.update(
    params, tx.init(params), params, step=0, rate_scale=1.0
  )
  assert jnp.isfinite(updates["kernel"]).all()


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"name": "sdg"}, "did you mean 'sgd'"),
    ({"lerning_rate": 0.1}, "'sgd' has no argument 'lerning_rate'\ndid you "),
    ({"lerning_rate": 0.1}, "did you mean 'learning_rate'"),
    ({"momentun": 0.1}, "did you mean 'momentum'"),
    ({"weight_decay": "0.1"}, "weight_decay >= 0\ngot '0.1'"),
    ({"name": "prodigy", "betas": (0.9, 1.0)}, "expected betas from 0 to bel"),
    ({"name": "prodigy", "betas": (0.9,)}, "expected betas to be two"),
    ({"name": "schedule_free_sgd", "b1": 0.0}, "expected b1 above 0"),
    ({"name": "adafactor", "eps": 0.0}, "expected eps of at least 1e-30"),
    *[({kind: -1.0}, f"expected {kind} >= 0") for kind in KINDS],
    ({"clip_norm": float("nan")}, "clip_norm"),
    ({"weight_decay": -1.0}, "weight_decay"),
    ({"no_decay": "("}, "expected no_decay to be a regular expression"),
    (
      {"name": "muon", "adam_params": "("},
      "expected adam_params to be a regular expression",
    ),
    ({"name": "adamw", "b1": 1 - 1e-9}, "float32"),
    ({"name": "adamw", "eps": 0.0}, "eps"),
    ({"rates": ("head", 10.0)}, r"\(\('head', 10.0\),\)"),
    ({"rates": (("head", -1.0),)}, "factor >= 0"),
    ({"rates": (("(", 1.0),)}, "expected rates to be a regular expression"),
    ({"layers": ("(",)}, "expected layers to be a regular expression"),
    ({"layer_decay": 0.5}, "expected layers"),
    ({"layer_decay": 0.0, "layers": LAYERS}, "above 0 and at most 1"),
    ({"layer_decay": 1.5, "layers": LAYERS}, "above 0 and at most 1"),
  ],
)
def test_unknown_names_and_numbers_out_of_range_are_errors(settings, message):
  with pytest.raises(UserError, match=message):
    update(**settings)


def test_a_negative_penalty_is_an_error():
  with pytest.raises(UserError, match="expected l2 >= 0"):
    optim.penalty(l2=-1.0)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), None, "0.1"])
def test_the_learning_rate_is_a_number_that_is_not_negative(rate):
  with pytest.raises(UserError, match="expected learning_rate >= 0"):
    optim.create("sgd", learning_rate=rate)


def test_a_rule_of_rates_that_matches_nothing_is_refused():
  tx = optim.create("sgd", learning_rate=0.1, rates=(("haed", 10.0),))
  with pytest.raises(UserError, match="did you mean 'head'"):
    tx.init({"head": {"kernel": jnp.ones(2)}, "dense": {"bias": jnp.ones(2)}})


def test_layers_of_which_none_matches_are_refused():
  params = {"embed": {"kernel": jnp.ones(2)}, "head": {"bias": jnp.ones(2)}}
  settings = {"learning_rate": 0.1, "layer_decay": 0.5}
  tx = optim.create("sgd", layers=("embd", "hed"), **settings)
  with pytest.raises(UserError, match="did you mean 'embed'"):
    tx.init(params)
  # One of them may be frozen.
  optim.create("sgd", layers=("embd", "head"), **settings).init(params)


@pytest.mark.parametrize("value", [2**31, 10**400, 1e39, (1,), "x", None])
@pytest.mark.parametrize("name", ["l2", "clip_norm", "weight_decay", "eps"])
def test_a_number_that_float32_or_int32_cannot_hold_is_refused(name, value):
  create = functools.partial(optim.create, "adamw", learning_rate=0.1)
  make = optim.penalty if name == "l2" else create
  with pytest.raises(UserError, match=f"expected {name}") as error:
    make(**{name: value})
  assert all(len(line) < 100 for line in error.value.lines)


@pytest.mark.parametrize("name", ["rates", "layers"])
@pytest.mark.parametrize("value", [3, None, "head"])
def test_rules_that_are_not_tuples_are_refused(name, value):
  with pytest.raises(UserError, match=f"expected {name} to be a tuple"):
    optim.create("sgd", learning_rate=0.1, **{name: value})

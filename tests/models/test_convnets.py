import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from small import initialized

from dlcore import models
from dlcore.errors import UserError
from dlcore.layers import adaptive_avg_pool
from dlcore.models.efficientnet import round_channels

KEY = jax.random.key(0)
SMALL = {
  **small.IMAGES,
  "convnext_tiny": {
    **small.IMAGES["convnext_tiny"],
    "depths": (1, 2),
    "patch_size": 3,
  },
  "resnet20": {"stages": (1, 1), "width": 4},
}
HIDDEN = {
  "convnext_tiny": [(6, 8, 6), (6, 8, 6), (3, 4, 8)],
  "efficientnet_lite0": [(10, 12, 4), (10, 12, 8), (5, 6, 8)],
  "mixer": [(30, 8)] * 3,
  "resnet20": [(20, 24, 4), (20, 24, 4), (10, 12, 8)],
  "vgg11": [(20, 24, 1), (10, 12, 4), (5, 6, 8)],
  "wide_resnet28_10": [
    (20, 24, 16),
    (20, 24, 16),
    (10, 12, 32),
    (5, 6, 64),
  ],
}
FAST = {"xla_backend_optimization_level": 0}


@functools.cache
def make(name, **settings):
  """Returns a model, variables sampled by NumPy, and a batch."""
  model = models.create(name, num_classes=5, **SMALL[name], **settings)
  generator = np.random.default_rng(0)
  x = generator.normal(size=(2, 20, 24, 1)).astype(np.float32)
  return model, initialized(model, x, generator), x


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.fast_cases("convnext_tiny", "resnet20", "vgg11")
def test_features_and_head_compute_the_logits(name):
  model, variables, x = make(name)

  @functools.partial(jax.jit, compiler_options=FAST)
  def run(variables):
    head = model.apply(variables, x, train=False, intermediates=True)
    plain = model.apply(variables, x, train=False)
    return head, plain, model.clone(head=None).apply(variables, x, train=False)

  (logits, state), plain, (hidden, pooled) = run(variables)
  np.testing.assert_array_equal(logits, plain)
  assert [a.shape[1:] for a in state["hidden_states"]] == HIDDEN[name]
  assert set(state) == {"hidden_states"}
  assert pooled.shape == (2, hidden.shape[-1])
  if name != "vgg11":
    head = variables["params"]["head"]
    by_hand = pooled @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(by_hand, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.fast_cases("mixer")
@pytest.mark.parametrize(
  "name", [name for name in SMALL if name not in ("resnet20", "vgg11")]
)
def test_stochastic_depth_has_no_effect_in_eval_mode(name):
  model, variables, x = make(name)

  @functools.partial(jax.jit, static_argnums=1, compiler_options=FAST)
  def run(rate, train):
    output = model.clone(stochastic_depth=rate, head=None).apply(
      variables,
      x,
      train=train,
      rngs={"dropout": KEY},
      mutable=["batch_stats"],
    )
    return output[0][1]

  np.testing.assert_array_equal(run(0.0, False), run(0.9, False))
  assert np.abs(run(0.0, True) - run(0.9, True)).max() > 1e-3


def test_a_zero_padded_shortcut_subsamples_pixels_and_adds_channels():
  model, variables, x = make("resnet20")
  assert not any(
    "shortcut" in name
    for block in variables["params"].values()
    for name in block
  )
  # With a residual branch of zeros, the output is the shortcut.
  block = variables["params"]["stage_1_block_0"]
  zeroed = {**block, "norm_1": jax.tree.map(jnp.zeros_like, block["norm_1"])}
  params = {**variables["params"], "stage_1_block_0": zeroed}
  run = functools.partial(model.apply, train=False, intermediates=True)
  _, state = jax.jit(run, compiler_options=FAST)(
    {**variables, "params": params}, x
  )
  before, after = state["hidden_states"][1:]
  np.testing.assert_array_equal(after[..., :4], before[:, ::2, ::2])
  assert not after[..., 4:].any()


def test_channels_are_rounded_to_multiples_of_8_and_lose_at_most_a_tenth():
  scaled = [24 * 1.1, 40 * 1.1, 16 * 1.2, 16 * 1.4, 112 * 1.4, 10, 3]
  assert [*map(round_channels, scaled)] == [24, 48, 24, 24, 160, 16, 8]
  for channels in range(8, 400):
    rounded = round_channels(channels)
    assert rounded % 8 == 0
    assert 0.9 * channels <= rounded <= channels + 8


@pytest.mark.parametrize("pixels", [1, 5, 7, 13, 14])
def test_adaptive_pooling_averages_windows_that_cover_the_image(pixels):
  x = np.random.default_rng(0).normal(size=(2, pixels, 9, 3)).astype(np.float32)
  y = adaptive_avg_pool(jnp.asarray(x), (7, 4))
  assert y.shape == (2, 7, 4, 3)
  for i in range(7):
    rows = x[:, i * pixels // 7 : -(-(i + 1) * pixels // 7)]
    for j in range(4):
      expected = rows[:, :, j * 9 // 4 : -(-(j + 1) * 9 // 4)].mean((1, 2))
      np.testing.assert_allclose(y[:, i, j], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("convnext_tiny", {"depths": (1,)}, "the same number of stages"),
    ("convnext_tiny", {"patch_size": 30}, "60x60 pixels"),
    (
      "convnext_tiny",
      {"head": "clasifier"},
      "expected head to be 'classifier'",
    ),
    ("efficientnet_lite0", {"stages": ((1, 3, 1, 1, 8),)}, "two stages"),
    ("efficientnet_lite0", {"padding": "valid"}, "same, symmetric"),
    ("efficientnet_lite0", {"dropout": 1.0}, "dropout"),
    ("mixer", {"patch_size": 7}, "multiples of patch_size=7"),
    ("mixer", {"tokens_mlp_dim": 0}, "tokens_mlp_dim"),
    ("resnet20", {"shortcut": "zero"}, "did you mean 'zeros'"),
    ("resnet20", {"stem_width": 8}, "stem_width <= 4"),
    ("vgg11", {"stages": ((4,), ())}, "at least one convolution"),
    ("vgg11", {"stages": ((4,),) * 5}, "32x32 pixels"),
    ("wide_resnet28_10", {"depth": 12}, "try 10"),
  ],
)
def test_invalid_fields_are_errors(name, settings, message):
  model = models.create(name, num_classes=5, **{**SMALL[name], **settings})
  with pytest.raises(UserError, match=re.escape(message)):
    jax.eval_shape(
      lambda: model.init(KEY, jnp.zeros((1, 20, 24, 1)), train=False)
    )

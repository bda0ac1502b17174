"""Width scaling: the factors of the paper, and coordinates that stay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import experiment, models, optim, trees
from dlcore.errors import UserError
from dlcore.optim import Parameter, Scale

BASE = {
  "hidden/kernel": Parameter((64, 64), 64**-0.5),
  "in/kernel": Parameter((10, 64), 10**-0.5),
  "out/kernel": Parameter((64, 5), 64**-0.5),
  "in/bias": Parameter((64,), 0.0),
  "out/bias": Parameter((5,), 0.0),
  "conv/kernel": Parameter((3, 3, 64, 64), 576**-0.5),
  "query/kernel": Parameter((64, 2, 32), 64**-0.5),
  "merge/kernel": Parameter((2, 32, 64), 64**-0.5),
  "embed/table": Parameter((100, 64), 0.02),
  "constant/kernel": Parameter((64, 64), 0.02),
}
WIDE = {
  "hidden/kernel": Parameter((256, 256), 256**-0.5),
  "in/kernel": Parameter((10, 256), 10**-0.5),
  "out/kernel": Parameter((256, 5), 256**-0.5),
  "in/bias": Parameter((256,), 0.0),
  "out/bias": Parameter((5,), 0.0),
  "conv/kernel": Parameter((3, 3, 256, 256), 2304**-0.5),
  "query/kernel": Parameter((256, 8, 32), 256**-0.5),
  "merge/kernel": Parameter((8, 32, 256), 256**-0.5),
  "embed/table": Parameter((100, 256), 0.02),
  "constant/kernel": Parameter((256, 256), 0.02),
}


def test_the_factors_of_adam_are_those_of_the_paper():
  scales = optim.width_scales(WIDE, BASE, "adamw")
  hidden = Scale(initial=1.0, rate=0.25)
  assert scales == {
    "hidden/kernel": hidden,
    "conv/kernel": hidden,
    "query/kernel": hidden,
    "merge/kernel": hidden,
    "constant/kernel": Scale(initial=0.5, rate=0.25),
    "in/kernel": Scale(),
    "in/bias": Scale(),
    "embed/table": Scale(),
    "out/kernel": Scale(initial=0.5, rate=0.25),
    "out/bias": Scale(),
  }


def test_the_factors_of_gradient_descent_are_those_of_the_paper():
  scales = optim.width_scales(WIDE, BASE, "momentum")
  rates = {path: one.rate for path, one in scales.items()}
  assert rates["hidden/kernel"] == rates["conv/kernel"] == 1
  assert rates["in/kernel"] == rates["in/bias"] == rates["embed/table"] == 4
  assert rates["out/kernel"] == 0.25
  assert rates["out/bias"] == 1


def test_the_base_model_is_not_changed():
  assert set(optim.width_scales(BASE, BASE, "adam").values()) == {Scale()}


def test_other_layers_and_optimizers_are_refused():
  fewer = {p: one for p, one in BASE.items() if p != "in/bias"}
  with pytest.raises(UserError, match="in/bias"):
    optim.width_scales(WIDE, fewer, "adam")
  with pytest.raises(UserError, match="adafactor"):
    optim.width_scales(WIDE, BASE, "adafactor")


MODELS = {
  "mlp": (
    lambda width: models.create("mlp", num_classes=10, widths=(width, width)),
    (16, 20),
    (64, 256, 1024),
  ),
  "cnn": (
    lambda width: models.create(
      "cnn",
      num_classes=10,
      stages=((width, width),),
      dense=(width,),
      batch_norm=False,
    ),
    (8, 8, 8, 1),
    (16, 64, 256),
  ),
  "vit": (
    lambda width: models.create(
      "vit_tiny",
      num_classes=10,
      width=width,
      depth=2,
      num_heads=width // 16,
      mlp_dim=2 * width,
      patch_size=4,
    ),
    (8, 8, 8, 1),
    (32, 128, 512),
  ),
}


def parameters(params):
  return {
    path: Parameter(leaf.shape, float(np.std(leaf)))
    for path, leaf in trees.flatten(params).items()
  }


def changes(name, width, base, rate, steps=4):
  """Returns how much the logits change in a few steps of Adam."""
  make, shape, _ = MODELS[name]
  x = jax.random.normal(jax.random.key(0), shape)
  labels = jnp.arange(len(x)) % 10
  model = make(width)
  params = model.init(jax.random.key(1), x, train=False)["params"]
  scales = {}
  if base:
    narrow = make(base).init(jax.random.key(1), x, train=False)["params"]
    scales = optim.width_scales(parameters(params), parameters(narrow), "adam")
    params = optim.with_initial_scales(params, scales)
  tx = optim.create(
    "adam", learning_rate=rate, path_rates=optim.rate_rules(scales)
  )
  opt_state = tx.init(params)

  def logits(params):
    return model.apply({"params": params}, x, train=False)

  @jax.jit
  def step(params, opt_state):
    def loss(params):
      return optax.losses.softmax_cross_entropy_with_integer_labels(
        logits(params), labels
      ).mean()

    grads = jax.grad(loss)(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  first = logits(params)
  for _ in range(steps):
    params, opt_state = step(params, opt_state)
  return float(jnp.abs(logits(params) - first).mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_coordinates_change_alike_at_all_widths(name):
  *_, widths = MODELS[name]
  rate = 1e-3
  scaled = [changes(name, width, widths[0], rate) for width in widths]
  standard = [changes(name, width, 0, rate) for width in widths]
  assert max(scaled) / min(scaled) < 2
  assert standard[-1] / standard[0] > 4


CONFIG = {
  "model": {"name": "mlp", "widths": (64, 64)},
  "optim": {"width_scaling": "model.widths=(16,16)"},
}


def test_a_config_names_the_base_model():
  built = experiment.build(experiment.complete(CONFIG))
  rates = optim.rate_rules(built.scales)
  assert rates == {"dense_1/kernel": 0.25, "head/kernel": 0.25}
  plain = {**CONFIG, "optim": {}}
  assert experiment.build(experiment.complete(plain)).scales == {}


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ({"optim": {"width_scaling": "wide"}}, "settings of the base model"),
    ({"optim": {"width_scaling": "optim.l1=3"}}, "settings of the base model"),
    ({"optim": {"width_scaling": "model.widhts=(8,8)"}}, "widths"),
    ({"optim": {"width_scaling": "model.widths=(8,)"}}, "the same layers"),
    (
      {"optim": {"width_scaling": "model.widths=(8,8)", "name": "lamb"}},
      "scale with the width",
    ),
  ],
)
def test_mistakes_are_refused(config, message):
  tree = experiment.complete(
    {"model": CONFIG["model"], "data": {"name": "digits"}, **config}
  )
  with pytest.raises(UserError, match=message) as caught:
    experiment.build(tree)
  assert len(caught.value.lines) <= 3

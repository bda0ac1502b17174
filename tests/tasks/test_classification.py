"""Classification: mixed images, class weights, views of an image."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import augment, losses, tasks
from dlcore.errors import UserError


class Net(nn.Module):
  """One layer."""

  @nn.compact
  def __call__(self, x, *, train):
    return nn.Dense(4, name="head")(x.reshape(x.shape[0], -1))


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 3), np.uint8)
BATCH = {"image": IMAGES, "label": np.array([0, 1, 2, 3, 0, 1])}
MIXED = {
  **BATCH,
  "partner_label": np.array([1, 0, 3, 2, 1, 0]),
  "share": np.array([0.2, 0.2, 0.7, 0.7, 1.0, 1.0], np.float32),
  "mask": np.array([1, 1, 1, 1, 1, 0], np.float32),
}
KEY = jax.random.key(0)


def start(**settings):
  task = tasks.classification(Net(), **settings)
  params, extra = task.init(KEY, BATCH)
  logits = Net().apply({"params": params}, IMAGES / np.float32(255), train=True)
  return task, params, extra, logits


def test_a_mixed_image_has_the_mean_loss_of_its_labels_by_share():
  task, params, extra, logits = start(label_smoothing=0.1)
  (total, weight), (_, metrics) = task.loss(params, extra, MIXED, KEY)
  pairs = (
    (MIXED["label"], MIXED["share"]),
    (MIXED["partner_label"], 1 - MIXED["share"]),
  )
  wanted = sum(
    share * losses.softmax_cross_entropy(logits, labels, 0.1)
    for labels, share in pairs
  )
  assert total == pytest.approx(float(wanted[:5].sum()), rel=1e-6)
  assert weight == 5
  hits = sum(share * (logits.argmax(-1) == labels) for labels, share in pairs)
  assert metrics["accuracy"][0] == pytest.approx(float(hits[:5].sum()))


def test_class_weights_of_mixed_images_are_mixed():
  weights = np.array([1.0, 2.0, 0.0, 5.0])
  task, params, extra, logits = start(class_weights=tuple(weights))
  (total, weight), _ = task.loss(params, extra, MIXED, KEY)
  wanted = wanted_weight = 0.0
  for labels, share in (
    (MIXED["label"], MIXED["share"]),
    (MIXED["partner_label"], 1 - MIXED["share"]),
  ):
    part = share * weights[labels] * MIXED["mask"]
    wanted += (part * losses.softmax_cross_entropy(logits, labels)).sum()
    wanted_weight += part.sum()
  assert total == pytest.approx(float(wanted), rel=1e-5)
  assert weight == pytest.approx(wanted_weight, rel=1e-6)


@pytest.mark.parametrize("views", [("flip",), ("crops", "flip"), ("shifts",)])
def test_views_are_averaged_as_probabilities(views):
  task, params, extra, _ = start(views=views)
  plain, *_ = start()
  seen = [jnp.asarray(IMAGES / np.float32(255))]
  for name in views:
    seen = [new for old in seen for new in augment.VIEWS[name](old)]
  wanted = np.mean(
    [
      plain.predict(params, extra, {"image": images}, KEY)["probabilities"]
      for images in seen
    ],
    axis=0,
  )
  got = task.predict(params, extra, BATCH, KEY)["probabilities"]
  np.testing.assert_allclose(got, wanted, atol=1e-6)
  sums = task.evaluate(params, extra, BATCH, KEY)
  loss = -np.log(wanted[np.arange(6), BATCH["label"]]).sum()
  assert sums["loss"][0] == pytest.approx(loss, rel=1e-5)


def test_bad_views_are_refused():
  with pytest.raises(UserError, match="flip"):
    tasks.classification(Net(), views=("flp",))
  with pytest.raises(UserError, match="images"):
    tasks.classification(Net(), input="features", views=("flip",))

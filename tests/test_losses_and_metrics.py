import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import losses, metrics


def test_smoothed_cross_entropy_is_that_of_the_smoothed_distribution():
  generator = np.random.default_rng(0)
  logits = generator.normal(size=(5, 7)).astype(np.float32)
  labels = generator.integers(0, 7, 5)
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  target = 0.9 * np.eye(7)[labels] + 0.1 / 7
  wanted = -(target * log_p).sum(-1)
  got = losses.softmax_cross_entropy(jnp.asarray(logits), labels, 0.1)
  np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_cross_entropy_of_large_logits_is_finite():
  logits = jnp.array([[1e4, 0.0], [0.0, 1e4]])
  got = losses.softmax_cross_entropy(logits, jnp.array([0, 0]))
  np.testing.assert_allclose(got, [0, 1e4])


@pytest.mark.parametrize("smoothing", [0.0, jnp.float32(0)])
@pytest.mark.parametrize("floor", [-jnp.inf, jnp.finfo(jnp.float32).min])
def test_a_class_of_probability_zero_does_not_contribute(smoothing, floor):
  logits = jnp.array([1.0, 2.0, floor, floor])

  def loss(logits, smoothing):
    labels = jnp.zeros((), int)
    return losses.softmax_cross_entropy(logits, labels, smoothing)

  value, gradient = jax.value_and_grad(loss)(logits, smoothing)
  alone, expected = jax.value_and_grad(loss)(logits[:2], 0.0)
  np.testing.assert_allclose(value, alone, rtol=1e-6)
  np.testing.assert_allclose(gradient, [*expected, 0, 0], atol=1e-7)


def test_the_gradient_by_a_label_smoothing_of_zero_is_finite():
  logits, label = jnp.array([1.0, -jnp.inf]), jnp.zeros((), int)
  slope = jax.grad(lambda e: losses.softmax_cross_entropy(logits, label, e))(
    jnp.float32(0)
  )
  assert np.isfinite(slope)


def test_a_negative_int8_label_does_not_wrap_around():
  logits, labels = jnp.zeros((1, 200)), jnp.array([-1], jnp.int8)
  assert np.isnan(losses.softmax_cross_entropy(logits, labels)).all()


@pytest.mark.parametrize("label", [-1, -100, 3])
def test_an_invalid_label_gives_nan_and_can_be_masked(label):
  logits = jnp.ones((2, 3))
  labels, mask = jnp.array([1, label]), jnp.array([1.0, 0.0])
  values = losses.softmax_cross_entropy(logits, labels)
  assert np.isnan(values).tolist() == [False, True]

  def total(logits):
    values = losses.softmax_cross_entropy(logits, labels)
    return metrics.weighted(values, mask)[0]

  value, gradient = jax.value_and_grad(total)(logits)
  np.testing.assert_allclose(value, np.log(3), rtol=1e-6)
  assert np.isfinite(gradient).all()
  assert not gradient[1].any()


def test_sigmoid_cross_entropy_is_that_of_two_classes():
  generator = np.random.default_rng(0)
  logits = generator.normal(size=(5, 3)).astype(np.float32)
  labels = generator.integers(0, 2, (5, 3))
  got = losses.sigmoid_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
  pairs = jnp.stack([jnp.zeros_like(logits), logits], -1)
  expected = losses.softmax_cross_entropy(pairs, labels)
  np.testing.assert_allclose(got, expected, rtol=1e-5)
  soft = losses.sigmoid_cross_entropy(logits, jnp.full((5, 3), 0.25))
  ends = [
    losses.sigmoid_cross_entropy(logits, jnp.full((5, 3), y)) for y in (0, 1)
  ]
  np.testing.assert_allclose(soft, 0.75 * ends[0] + 0.25 * ends[1], rtol=1e-5)


@pytest.mark.parametrize("size", [1e4, jnp.inf])
def test_a_certain_label_has_a_loss_of_zero_and_a_finite_gradient(size):
  logits, labels = jnp.array([size, -size]), jnp.array([1, 0])

  def loss(logits):
    return losses.sigmoid_cross_entropy(logits, labels).sum()

  value, gradient = jax.value_and_grad(loss)(logits)
  assert value == 0
  assert not gradient.any()


@pytest.mark.parametrize("label", [-1.0, 1.5, -100])
def test_a_value_that_is_no_probability_gives_nan(label):
  assert jnp.isnan(
    losses.sigmoid_cross_entropy(jnp.float32(0), jnp.array(label))
  )


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
  precision, recall = 6 / 8, 6 / 12
  expected = 2 * precision * recall / (precision + recall)
  assert metrics.f1(6, 8, 12) == pytest.approx(expected)
  assert metrics.f1(0, 3, 2) == 0
  assert np.isnan(metrics.f1(0, 0, 0))


def test_masked_values_do_not_count_even_if_not_finite():
  values, mask = jnp.array([1.0, jnp.nan, 3.0]), jnp.array([1.0, 0.0, 1.0])
  assert [float(x) for x in metrics.weighted(values, mask)] == [4, 2]


def test_totals_of_parts_give_the_metric_of_the_whole():
  parts = [{"loss": (np.float32(6), 2)}, {"loss": (np.float32(1), 5)}]
  whole = metrics.total(parts)
  assert metrics.compute(whole, lambda sums: {}) == {"loss": 1.0}


def test_compute_omits_underscored_sums_and_adds_derived_metrics():
  sums = {"_square": (8.0, 2.0)}
  derived = metrics.compute(
    sums, lambda s: {"root": (s["_square"][0] / 2) ** 0.5}
  )
  assert derived == {"root": 2.0}


def test_a_metric_of_zero_examples_is_nan():
  value = metrics.compute({"loss": (0.0, 0.0)}, lambda s: {})["loss"]
  assert value != value
  assert value != pytest.approx(0)


def test_shapes_that_would_broadcast_are_rejected():
  with pytest.raises(AssertionError):
    losses.squared_error(jnp.zeros((4, 1)), jnp.zeros(4))
  with pytest.raises(AssertionError):
    losses.softmax_cross_entropy(jnp.zeros((4, 3)), jnp.zeros((4, 1), int))
  with pytest.raises(AssertionError):
    losses.sigmoid_cross_entropy(jnp.zeros((4, 1)), jnp.zeros(4))
  with pytest.raises(AssertionError):
    metrics.weighted(jnp.zeros((4, 1)), jnp.ones(4))

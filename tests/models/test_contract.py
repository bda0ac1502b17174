"""What every model keeps to, and what it does with what it cannot take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dlcore import models
from dlcore.errors import UserError

KEY = jax.random.key(0)
IMAGES = {
  **small.IMAGES,
  "cnn": {"stages": ((4,), (8,)), "dense": (8,)},
  "lenet5": {},
  "mlp": {"widths": (8,)},
  "resnet18": {"stages": (1, 1), "width": 4},
  "vit_tiny": {"patch_size": 4, "width": 8, "depth": 2, "num_heads": 2},
}
SMALL = {"vocab_size": 11, "width": 8, "depth": 2}
ATTENTIVE = {**SMALL, "num_heads": 2, "mlp_dim": 8, "max_length": 8}
TEXTS = {
  "bert_base": {**ATTENTIVE, "head": "mlm"},
  "distilbert": {**ATTENTIVE, "head": "mlm"},
  "gpt2": ATTENTIVE,
  "llama2_7b": ATTENTIVE,
  "lstm": {**SMALL, "head": "lm"},
}
TRANSLATIONS = {"seq2seq": SMALL, "transformer_base": ATTENTIVE}
IDS = np.arange(12, dtype=np.int32).reshape(2, 6) % 11


def inputs(name):
  """Returns what a model is called with."""
  if name in IMAGES:
    return (np.zeros((2, 12, 12, 1), np.float32),)
  return (IDS,) * (1 + (name in TRANSLATIONS))


def shape(name, *arrays, masks=None, **settings):
  """Returns the shapes of an output; nothing is computed."""
  own = {**IMAGES, **TEXTS, **TRANSLATIONS}[name]
  if name in IMAGES and "head" not in settings:
    own = {"num_classes": 3, **own}
  model = models.create(name, **{**own, **settings})
  arrays = arrays or inputs(name)

  def run():
    return model.init_with_output(KEY, *arrays, **(masks or {}), train=False)

  return jax.eval_shape(run)[0]


@pytest.mark.parametrize("name", IMAGES)
def test_features_need_no_number_of_classes(name):
  found = jax.tree.leaves(shape(name, head=None))
  assert {leaf.shape[0] for leaf in found} == {2}
  output, seen = jax.eval_shape(
    lambda: models.create(name, num_classes=3, **IMAGES[name]).init_with_output(
      KEY, *inputs(name), train=False, intermediates=True
    )[0]
  )
  assert output.shape == (2, 3)
  assert len(seen["hidden_states"]) > 1
  with pytest.raises(UserError, match="num_classes"):
    shape(name, num_classes=None, head="classifier")


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_that_were_not_scaled_are_told(name):
  with pytest.raises(UserError, match="got uint8"):
    shape(name, np.zeros((2, 12, 12, 1), np.uint8))


@pytest.mark.parametrize("name", [*IMAGES, *TEXTS])
def test_a_batch_may_be_empty(name):
  (array,) = inputs(name)
  assert shape(name, array[:0]).shape[0] == 0


@pytest.mark.parametrize("name", ["cnn", "lenet5", "mixer", "mlp"])
def test_images_of_another_size_than_at_init_are_told(name):
  model = models.create(name, num_classes=3, **IMAGES[name])
  (x,) = inputs(name)
  variables = jax.eval_shape(lambda: model.init(KEY, x, train=False))
  larger = np.zeros((2, 20, 20, 1), np.float32)
  with pytest.raises(UserError, match="the size at init"):
    jax.eval_shape(lambda v: model.apply(v, larger, train=False), variables)


@pytest.mark.parametrize("name", [*TEXTS, *TRANSLATIONS])
@pytest.mark.parametrize(
  ("mask", "message"),
  [
    (np.where(np.arange(6) < 4, 0.0, -1e9) * np.ones((2, 1)), "whole numbers"),
    (np.ones((1, 6), int), "shape"),
    (np.ones((2, 1), int), "shape"),
    (np.ones(6, int), "shape"),
    (np.ones((2, 7), int), "shape"),
  ],
)
def test_masks_that_would_mean_something_else_are_told(name, mask, message):
  with pytest.raises(UserError, match=message):
    shape(name, masks={"attention_mask": mask})


@pytest.mark.parametrize(
  ("name", "types", "message"),
  [
    ("bert_base", np.zeros((2, 1), int), "shape"),
    ("bert_base", np.zeros((2, 6)), "integers"),
    ("distilbert", IDS, "knows no types"),
    ("llama2_7b", IDS, "knows no types"),
    ("gpt2", np.zeros((1, 6), int), "shape"),
  ],
)
def test_token_types_that_have_no_meaning_are_told(name, types, message):
  with pytest.raises(UserError, match=message):
    shape(name, masks={"token_type_ids": types})


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_every_second_text_needs_a_first_one(name):
  with pytest.raises(UserError, match="2 texts"):
    shape(name, IDS, IDS[:1])


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("resnet18", {"remat": "no"}, "remat to be True or False"),
    ("resnet18", {"dropout": "0.1"}, "dropout to be a rate"),
    ("resnet18", {"dropout": np.float32(1.5)}, "dropout to be a rate"),
    ("resnet18", {"dropout": None}, "dropout to be a rate"),
    ("resnet18", {"dtype": "float17"}, "dtype to be one of"),
    ("resnet18", {"dtype": "float64"}, "dtype to be one of"),
    ("resnet18", {"block": 3}, "block to be a name"),
    ("resnet18", {"width": 4.5}, "width to be a whole number"),
    ("gpt2", {"eps": "x"}, "eps to be a number"),
    ("llama2_7b", {"rope_scaling": (8.0,)}, "rope_scaling"),
    ("llama2_7b", {"num_kv_heads": -2}, "num_kv_heads"),
    ("llama2_7b", {"num_heads": 3}, "got 3 heads and a width of 8"),
  ],
)
def test_settings_of_another_kind_are_told(name, settings, message):
  with pytest.raises(UserError, match=message):
    shape(name, **settings)


def test_numbers_of_numpy_and_names_of_dtypes_are_taken():
  settings = {"width": np.int32(4), "dropout": np.float32(0.5)}
  classes = np.arange(3).max() + 1
  found = shape("resnet18", num_classes=classes, dtype="bfloat16", **settings)
  assert (found.shape, found.dtype) == ((2, 3), jnp.float32)


@pytest.mark.parametrize("name", [*IMAGES, *TEXTS, *TRANSLATIONS])
def test_logits_of_half_precision_are_not_rounded_to_it(name):
  settings = {**IMAGES, **TEXTS, **TRANSLATIONS}[name] | {"dtype": "bfloat16"}
  classes = 3 if name in IMAGES else None
  model = models.create(name, num_classes=classes, **settings)

  def run(*arrays):
    return model.init_with_output(KEY, *arrays, train=False)[0]

  program = str(jax.make_jaxpr(run)(*inputs(name)))
  # What makes the logits: the last product of the program.
  last = [line for line in program.splitlines() if "dot_general" in line][-1]
  output = last.split("=")[0]
  assert ":f32[" in output, last


@pytest.mark.parametrize("name", ["bert_base", "gpt2", "lstm"])
@pytest.mark.parametrize("wrong", [-1, 11])
def test_an_id_that_is_no_word_gives_nan(name, wrong):
  model = models.create(name, **TEXTS[name])
  ids = jnp.asarray(IDS).at[0, 2].set(wrong)

  @jax.jit
  def run(ids):
    return model.init_with_output(KEY, ids, train=False)[0]

  found = run(ids)
  assert np.isnan(found[0, 2]).all()
  assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("name", TEXTS)
def test_bytes_are_ids(name):
  model = models.create(name, **{**TEXTS[name], "vocab_size": 256})
  narrow, wide = (
    jax.eval_shape(lambda i=ids: model.init_with_output(KEY, i, train=False)[0])
    for ids in (IDS.astype(np.uint8), IDS)
  )
  assert narrow == wide


@pytest.mark.parametrize("name", ["gpt2", "llama2_7b"])
def test_a_cache_of_another_batch_is_told(name):
  model = models.create(name, **TEXTS[name])
  variables = jax.eval_shape(
    lambda: model.init(KEY, IDS, decode=True, train=False)
  )
  with pytest.raises(UserError, match="2 rows"):
    jax.eval_shape(
      lambda v: model.apply(
        v, IDS[:1, :1], decode=True, train=False, mutable=["cache"]
      ),
      variables,
    )


@pytest.mark.parametrize("scan", [False, True])
def test_what_blocks_sow_is_seen(scan):
  model = models.create("gpt2", **ATTENTIVE, scan=scan)
  _, seen = jax.eval_shape(
    lambda: model.init_with_output(
      KEY, IDS, train=False, capture_intermediates=True
    )
  )
  paths = {jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(seen)}
  assert any("feedforward" in path for path in paths if "__call__" in path)

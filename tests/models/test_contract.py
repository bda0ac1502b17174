"""The contract of all models, and their errors for invalid inputs."""

import dataclasses
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from dlcore import models
from dlcore.errors import UserError
from dlcore.models.field_checks import InheritedRate

KEY = jax.random.key(0)
IMAGES = {
  **small.IMAGES,
  "cnn": {"stages": ((4,), (8,)), "dense": (8,)},
  "lenet5": {},
  "mlp": {"widths": (8,)},
  "resnet18": {"stages": (1, 1), "width": 4},
  "tabular": {"widths": (8,), "numbers": (0, 2), "frequencies": 2},
  "vit_tiny": {"patch_size": 4, "width": 8, "depth": 2, "num_heads": 2},
}
SMALL = {"vocab_size": 11, "width": 8, "depth": 2}
ATTENTION = {**SMALL, "num_heads": 2, "mlp_dim": 8, "max_length": 8}
CLASSIFIERS = {
  "ngram_bag": {
    "vocab_size": 11,
    "ngrams": (1, 2),
    "buckets": 32,
    "width": 8,
    "widths": (8,),
  },
  "ngram_cnn": {"vocab_size": 11, "buckets": 32, "width": 8, "features": 4},
  "text_cnn": {"vocab_size": 11, "width": 8, "features": 4, "widths": (8,)},
}
LANGUAGE_MODELS = {
  "bert_base": {**ATTENTION, "head": "mlm"},
  "distilbert": {**ATTENTION, "head": "mlm"},
  "gpt2": ATTENTION,
  "llama2_7b": ATTENTION,
  "lstm": {**SMALL, "head": "lm"},
}
ENCODER_DECODERS = {"seq2seq": SMALL, "transformer_base": ATTENTION}
HAVE_CLASSES = {**IMAGES, **CLASSIFIERS}
MODELS = {**HAVE_CLASSES, **LANGUAGE_MODELS, **ENCODER_DECODERS}
IDS = np.arange(12, dtype=np.int32).reshape(2, 6) % 11


def inputs(name):
  """Returns the inputs of a model."""
  if name in IMAGES:
    return (np.zeros((2, 12, 12, 1), np.float32),)
  return (IDS,) * (1 + (name in ENCODER_DECODERS))


def shape(name, *arrays, masks=None, **settings):
  """Returns the shape of the output, without computing it."""
  own = MODELS[name]
  if name in HAVE_CLASSES and "head" not in settings:
    own = {"num_classes": 3, **own}
  model = models.create(name, **{**own, **settings})
  arrays = arrays or inputs(name)

  def run():
    return model.init_with_output(KEY, *arrays, **(masks or {}), train=False)

  return jax.eval_shape(run)[0]


@pytest.mark.parametrize("name", HAVE_CLASSES)
def test_features_do_not_need_num_classes(name):
  features = jax.tree.leaves(shape(name, head=None))
  assert {leaf.shape[0] for leaf in features} == {2}
  output, state = jax.eval_shape(
    lambda: models.create(name, num_classes=3, **MODELS[name]).init_with_output(
      KEY, *inputs(name), train=False, intermediates=True
    )[0]
  )
  assert output.shape == (2, 3)
  assert len(state["hidden_states"]) > 1
  with pytest.raises(UserError, match="num_classes"):
    shape(name, num_classes=None, head="classifier")


@pytest.mark.parametrize("name", IMAGES)
def test_integer_pixels_are_an_error(name):
  with pytest.raises(UserError, match="got uint8"):
    shape(name, np.zeros((2, 12, 12, 1), np.uint8))


@pytest.mark.parametrize("name", MODELS)
def test_inputs_that_are_no_arrays_are_errors(name):
  lists = [array.tolist() for array in inputs(name)]
  for values in (lists, [None] * len(lists), ["abc"] * len(lists)):
    with pytest.raises(UserError, match="an array") as error:
      shape(name, *values)
    assert len(error.value.lines) == 3


@pytest.mark.parametrize(
  "name", [*CLASSIFIERS, *LANGUAGE_MODELS, *ENCODER_DECODERS]
)
def test_masks_and_types_that_are_no_arrays_are_errors(name):
  with pytest.raises(UserError, match="attention_mask, an array"):
    shape(name, masks={"attention_mask": [[1] * 6] * 2})
  if name not in ENCODER_DECODERS:
    with pytest.raises(UserError, match="token_type"):
      shape(name, masks={"token_type_ids": [[0] * 6] * 2})


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_the_mask_of_a_decoder_has_the_shape_of_its_source(name):
  model = models.create(name, **MODELS[name])
  variables = jax.eval_shape(lambda: model.init(KEY, IDS, IDS, train=False))

  def decode(variables, mask):
    encoded = model.apply(variables, IDS, train=False, method="encode")
    return model.apply(
      variables, IDS[:, :3], encoded, mask, train=False, method="decode"
    )

  assert jax.eval_shape(decode, variables, IDS).shape == (2, 3, 11)
  for mask in (IDS[:, :3], IDS[:1]):
    with pytest.raises(UserError, match=r"of shape \(2, 6\)"):
      jax.eval_shape(decode, variables, mask)


@pytest.mark.parametrize("name", [*HAVE_CLASSES, *LANGUAGE_MODELS])
def test_a_batch_may_be_empty(name):
  (array,) = inputs(name)
  assert shape(name, array[:0]).shape[0] == 0


@pytest.mark.parametrize("name", ["cnn", "lenet5", "mixer", "mlp", "tabular"])
def test_images_of_another_size_than_at_init_are_an_error(name):
  model = models.create(name, num_classes=3, **IMAGES[name])
  (x,) = inputs(name)
  variables = jax.eval_shape(lambda: model.init(KEY, x, train=False))
  larger = np.zeros((2, 20, 20, 1), np.float32)
  with pytest.raises(UserError, match="the input size of init"):
    jax.eval_shape(lambda v: model.apply(v, larger, train=False), variables)


@pytest.mark.parametrize(
  "name", [*CLASSIFIERS, *LANGUAGE_MODELS, *ENCODER_DECODERS]
)
@pytest.mark.parametrize(
  ("mask", "message"),
  [
    (np.where(np.arange(6) < 4, 0.0, -1e9) * np.ones((2, 1)), "integers"),
    (np.ones((1, 6), int), "shape"),
    (np.ones((2, 1), int), "shape"),
    (np.ones(6, int), "shape"),
    (np.ones((2, 7), int), "shape"),
  ],
)
def test_invalid_attention_masks_are_errors(name, mask, message):
  with pytest.raises(UserError, match=message):
    shape(name, masks={"attention_mask": mask})


@pytest.mark.parametrize(
  ("name", "types", "message"),
  [
    ("bert_base", np.zeros((2, 1), int), "shape"),
    ("bert_base", np.zeros((2, 6)), "integers"),
    ("distilbert", IDS, "has no token types"),
    ("llama2_7b", IDS, "has no token types"),
    ("gpt2", np.zeros((1, 6), int), "shape"),
    ("ngram_bag", np.zeros((2, 1), int), "shape"),
    ("text_cnn", np.zeros((2, 6)), "integers"),
  ],
)
def test_invalid_token_types_are_errors(name, types, message):
  with pytest.raises(UserError, match=message):
    shape(name, masks={"token_type_ids": types})


@pytest.mark.parametrize("name", ENCODER_DECODERS)
def test_source_and_target_need_the_same_batch_size(name):
  with pytest.raises(UserError, match="2 rows"):
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
    ("resnet18", {"block": 3}, "block to be a string"),
    ("resnet18", {"width": 4.5}, "width to be an integer"),
    ("gpt2", {"vocab_size": 2**63}, "vocab_size to be in the range of int32"),
    ("mlp", {"widths": (8, 10**30)}, "widths to be in the range of int32"),
    ("llama2_7b", {"rope_theta": 10**400}, "in the range of int32"),
    ("mlp", {"widths": (8,) * 100_000}, "2,000 layers\ngot 100,000"),
    ("gpt2", {"depth": 10**9}, "2,000 layers\ngot 1,000,000,000"),
    ("resnet18", {"stages": (1, 1, 1, 10**6)}, "layers\ngot 1,000,003"),
    (
      "efficientnet_lite0",
      {"stages": ((1, 3, 1, 1, 8), (1500, 3, 1, 1, 8), (600, 3, 1, 1, 8))},
      "2,000 layers\ngot 2,101",
    ),
    ("gpt2", {"eps": "x"}, "eps to be a number"),
    ("ngram_bag", {"ngrams": ()}, "at least one size"),
    ("ngram_bag", {"ngrams": (0, 1)}, "ngrams to be integers >= 1"),
    ("ngram_bag", {"buckets": 0}, "buckets"),
    ("ngram_cnn", {"bag_rate": 0.0}, "bag_rate above 0"),
    ("ngram_cnn", {"bag_rate": 1.0}, "bag_rate above 0"),
    ("text_cnn", {"kernel_sizes": (3, 3)}, "different kernel_sizes"),
    ("text_cnn", {"kernel_sizes": ()}, "different kernel_sizes"),
    ("text_cnn", {"features": 0}, "features"),
    ("llama2_7b", {"rope_scaling": (8.0,)}, "rope_scaling"),
    ("llama2_7b", {"num_kv_heads": -2}, "num_kv_heads"),
    ("llama2_7b", {"num_heads": 3}, "num_heads=3 and a width of 8"),
  ],
)
def test_fields_of_another_type_are_errors(name, settings, message):
  with pytest.raises(UserError, match=message):
    shape(name, **settings)


def test_numpy_scalars_and_dtype_names_are_valid():
  settings = {"width": np.int32(4), "dropout": np.float32(0.5)}
  classes = np.arange(3).max() + 1
  logits = shape("resnet18", num_classes=classes, dtype="bfloat16", **settings)
  assert (logits.shape, logits.dtype) == ((2, 3), jnp.float32)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_not_rounded_to_half_precision(name):
  settings = MODELS[name] | {"dtype": "bfloat16"}
  classes = 3 if name in HAVE_CLASSES else None
  model = models.create(name, num_classes=classes, **settings)

  def run(*arrays):
    return model.init_with_output(KEY, *arrays, train=False)[0]

  program = str(jax.make_jaxpr(run)(*inputs(name)))
  # The last matrix product of the program computes the logits.
  last = [line for line in program.splitlines() if "dot_general" in line][-1]
  output = last.split("=")[0]
  assert ":f32[" in output, last


@pytest.mark.fast_cases("-1-gpt2", "11-gpt2", "11-lstm")
@pytest.mark.parametrize("name", ["bert_base", "gpt2", "lstm"])
@pytest.mark.parametrize("wrong", [-1, 11])
def test_an_id_out_of_range_returns_nan(name, wrong):
  model = models.create(name, **LANGUAGE_MODELS[name])
  ids = jnp.asarray(IDS).at[0, 2].set(wrong)

  @jax.jit
  def run(ids):
    return model.init_with_output(KEY, ids, train=False)[0]

  logits = run(ids)
  assert np.isnan(logits[0, 2]).all()
  assert np.isfinite(logits[1]).all()


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_bytes_are_valid_ids(name):
  model = models.create(name, **{**LANGUAGE_MODELS[name], "vocab_size": 256})
  narrow, wide = (
    jax.eval_shape(lambda i=ids: model.init_with_output(KEY, i, train=False)[0])
    for ids in (IDS.astype(np.uint8), IDS)
  )
  assert narrow == wide


@pytest.mark.parametrize("name", ["gpt2", "llama2_7b"])
def test_a_cache_of_another_batch_size_is_an_error(name):
  model = models.create(name, **LANGUAGE_MODELS[name])
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
def test_intermediates_of_blocks_are_captured(scan):
  model = models.create("gpt2", **ATTENTION, scan=scan)
  _, state = jax.eval_shape(
    lambda: model.init_with_output(
      KEY, IDS, train=False, capture_intermediates=True
    )
  )
  paths = {jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(state)}
  assert any("feedforward" in path for path in paths if "__call__" in path)


@pytest.mark.parametrize("name", MODELS)
def test_the_required_positional_arguments_are_the_inputs(name):
  model = models.create(name, **MODELS[name])
  signature = inspect.signature(type(model).__call__)
  arguments = signature.bind(model, *inputs(name), train=False).arguments
  assert len(arguments) == len(inputs(name)) + 2  # self and train
  with pytest.raises(TypeError, match="missing a required argument"):
    signature.bind(model, *inputs(name)[1:], train=False)
  with pytest.raises(TypeError):
    signature.bind(model, *inputs(name), *inputs(name), train=False)


RATES = [
  (name, field.name)
  for name in MODELS
  for field in dataclasses.fields(models.create(name))
  if field.type in (float | jax.Array, InheritedRate)
]


@pytest.mark.fast_cases(*(f"{name}-dropout" for name in MODELS))
@pytest.mark.parametrize(("name", "rate"), RATES)
def test_every_rate_may_be_traced_and_a_python_zero_costs_nothing(name, rate):
  own = {"num_classes": 3} | MODELS[name]
  if rate == "head_dropout":
    own["head"] = "classifier"
  model = models.create(name, **own)
  variables = jax.eval_shape(
    lambda: model.init(KEY, *inputs(name), train=False)
  )

  def program(value):
    def run(variables, traced):
      used = traced if value is None else value
      return model.clone(**{rate: used}).apply(
        variables,
        *inputs(name),
        train=True,
        rngs={"dropout": KEY},
        mutable=list(variables),
      )

    return str(jax.make_jaxpr(run)(variables, jnp.float32(0)))

  choices = 1 if name == "ngram_cnn" else 0  # Of a branch.
  assert program(0.0).count("random_bits") == choices
  assert program(None).count("random_bits") > choices

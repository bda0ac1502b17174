"""Published weights with other names, fields and heads than the model."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from small_models import IDS, TEXT, initialized, written

from dlcore import models, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer import config_checks
from dlcore.transfer.families import name_rules
from dlcore.transfer.io import safetensors

KEY = jax.random.key(0)


def read(path):
  return {n: np.array(array) for n, array in safetensors.File(path).items()}


def change(folder, *, rename=(), drop=(), add=None, **config):
  """Changes the names, the arrays and the config.json in a folder."""
  path = folder / "model.safetensors"
  arrays = read(path)
  for old, new in dict(rename).items():
    arrays[new] = arrays.pop(old)
  for name in [n for n in arrays if any(part in n for part in drop)]:
    del arrays[name]
  safetensors.write(path, {**arrays, **(add or {})}, {"format": "pt"})
  old = json.loads((folder / "config.json").read_text())
  (folder / "config.json").write_text(json.dumps({**old, **config}))


def equal(left, right):
  left, right = trees.flatten(left), trees.flatten(right)
  assert left.keys() == right.keys()
  for path, leaf in left.items():
    np.testing.assert_array_equal(leaf, right[path], err_msg=path)


WORDS = {
  "bert_base": "bert.embeddings.word_embeddings.weight",
  "distilbert": "distilbert.embeddings.word_embeddings.weight",
  "gpt2": "transformer.wte.weight",
  "llama2_7b": "model.embed_tokens.weight",
  "marian": "model.shared.weight",
}
SCORES = {
  "bert_base": "cls.predictions.decoder.weight",
  "distilbert": "vocab_projector.weight",
}
FAMILY = {"distilbert": "distilbert"}


@pytest.fixture(params=WORDS)
def tied(request, tmp_path):
  """A folder of a model whose output layer is its embedding table."""
  name = request.param
  settings = {**TEXT, "head": "mlm" if "bert" in name else "lm"}
  if name == "llama2_7b":
    settings["tie_embeddings"] = True
  inputs = (IDS, IDS) if name == "marian" else (IDS,)
  family = FAMILY.get(name, "")
  model, variables = written(tmp_path, name, *inputs, family=family, **settings)
  scores = SCORES.get(name, "lm_head.weight")
  return tmp_path, model, variables, WORDS[name], scores


def test_a_shared_table_is_loaded_under_its_other_name(tied):
  folder, _, variables, words, scores = tied
  change(folder, rename={words: scores})
  _, loaded = transfer.from_pretrained(folder)
  equal(loaded, variables)


def test_an_untied_output_layer_is_not_silently_ignored(tied):
  folder, model, variables, words, scores = tied
  table = read(folder / "model.safetensors")[words]
  change(folder, add={scores: table})
  _, loaded = transfer.from_pretrained(folder)
  equal(loaded, variables)
  change(folder, add={scores: table + 1})
  with pytest.raises(UserError, match="to equal"):
    transfer.from_pretrained(folder)
  if "llama" not in words and model.head == "mlm":
    change(folder, tie_word_embeddings=False)
    with pytest.raises(UserError, match="tie_word_embeddings"):
      transfer.from_pretrained(folder)


@pytest.mark.parametrize(
  ("have", "want"), [("lm", "classifier"), ("classifier", "lm")]
)
def test_a_decoder_changes_its_head(have, want, tmp_path):
  written(tmp_path, "llama2_7b", **TEXT, head=have, num_classes=3)
  model = models.create("llama2_7b", **TEXT, head=want, num_classes=3)
  variables = initialized(model, IDS)
  _, report = transfer.load_pretrained(tmp_path, model, variables)
  assert set(report.reinitialized) == {"params/head/kernel"}
  assert report.skipped == (
    "lm_head.weight" if have == "lm" else "score.weight",
  )


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("bert_base", {"activation": "relu"}, "activation='gelu_exact'"),
    ("bert_base", {"num_heads": 4}, "num_heads=2"),
    ("llama2_7b", {"rope_theta": 5e5}, "rope_theta=10000.0"),
    ("llama2_7b", {"rope_scaling": (8.0, 1.0, 4.0, 4)}, "rope_scaling="),
  ],
)
def test_fields_without_an_effect_on_shapes_are_compared(
  name, settings, message, tmp_path
):
  own = {**TEXT, "head": None}
  written(tmp_path, name, **own)
  model = models.create(name, **{**own, **settings})
  variables = initialized(model, IDS)
  with pytest.raises(UserError, match=message):
    transfer.load_pretrained(tmp_path, model, variables)
  (setting,) = settings
  _, report = transfer.load_pretrained(
    tmp_path, model, variables, allow=f"^model.{setting}$"
  )
  assert set(report.differing) == {setting}
  assert setting in str(report)
  # A field that is passed by name may differ.
  loaded, _ = transfer.from_pretrained(tmp_path, **settings)
  assert getattr(loaded, setting) == settings[setting]


def test_all_fields_that_differ_are_in_one_error(tmp_path):
  own = {**TEXT, "head": None}
  written(tmp_path, "bert_base", **own)
  settings = {"activation": "relu", "num_heads": 4}
  model = models.create("bert_base", **{**own, **settings})
  variables = initialized(model, IDS)
  with pytest.raises(UserError) as error:
    transfer.load_pretrained(tmp_path, model, variables)
  for name, value in settings.items():
    assert f"{name}=" in error.value.lines[0]
    assert f"{name}={value!r}" in error.value.lines[1]
  allow = error.value.lines[2].split("allow='")[1].removesuffix("'")
  _, report = transfer.load_pretrained(tmp_path, model, variables, allow=allow)
  assert set(report.differing) == set(settings)


@pytest.mark.parametrize("family", transfer.FAMILIES)
def test_every_family_refuses_the_models_of_the_others(family, tmp_path):
  safetensors.write(tmp_path / "w.safetensors", {"x": np.zeros(1, np.float32)})
  classes = {type(models.create(name)): name for name in models.MODELS}
  del classes[transfer.FAMILIES[family].model]
  assert classes
  for name in classes.values():
    model = models.create(name)
    with pytest.raises(UserError, match=f"the model of the family '{family}'"):
      transfer.load_pretrained(
        tmp_path / "w.safetensors", model, {}, family=family
      )
    with pytest.raises(UserError, match=f"the model of the family '{family}'"):
      transfer.save_pretrained(tmp_path / "out", model, {}, family=family)
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
  ("name", "wrong", "right"),
  [
    ("gru", "torch/lstm", "torch/gru"),
    ("lstm", "torch/rnn", "torch/lstm"),
    ("llama2_7b", "qwen2", "llama"),
    ("qwen2_0_5b", "llama", "qwen2"),
  ],
)
def test_a_model_is_only_written_as_a_family_that_describes_it(
  name, wrong, right, tmp_path
):
  own = {"width": 4, "head": None} if "/" in right else {**TEXT, "head": None}
  inputs = np.zeros((1, 4, 3), np.float32) if "/" in right else IDS
  with pytest.raises(UserError, match="expected a model"):
    written(tmp_path, name, inputs, family=wrong, **own)
  assert not (tmp_path / "config.json").exists()
  written(tmp_path, name, inputs, family=right, **own)
  config = json.loads((tmp_path / "config.json").read_text())
  assert config["model_type"] == right


def test_the_cell_of_a_recurrent_network_is_compared(tmp_path):
  series = np.zeros((1, 4, 3), np.float32)
  own = {"width": 4, "head": None}
  written(tmp_path, "rnn", series, family="torch/rnn", **own)
  change(tmp_path, nonlinearity="relu")
  model = models.create("rnn", **own)
  variables = initialized(model, series)
  with pytest.raises(UserError, match="cell='rnn_relu'"):
    transfer.load_pretrained(tmp_path, model, variables)


COMPARED = {
  "CNN": {"stage_pooling", "activation", "pool"},
  "EfficientNetLite": {"stem", "padding", "eps"},
  "Llama": {
    "tie_embeddings",
    "num_heads",
    "num_kv_heads",
    "activation",
    "rope_theta",
    "rope_scaling",
    "eps",
  },
  "RecurrentNetwork": {"cell", "tie_embeddings"},
  "ResNet": {"block", "stem", "shortcut"},
  "Seq2Seq": {"cell", "attention"},
  "Transformer": {
    "num_heads",
    "decoder_num_heads",
    "activation",
    "pre_norm",
    "scale_embeddings",
    "sines_first",
    "eps",
  },
  "ViT": {"num_heads", "pool", "activation", "eps"},
}


@pytest.mark.parametrize("name", COMPARED)
def test_every_field_that_only_changes_the_outputs_is_compared(name):
  assert (
    set(config_checks.compared_fields(getattr(models, name)))
    == (COMPARED[name])
  )


def test_every_field_that_is_not_compared_is_one_of_a_model():
  classes = [c for c in vars(models).values() if dataclasses.is_dataclass(c)]
  known = {field.name for c in classes for field in dataclasses.fields(c)}
  assert {*config_checks.TRAINING, *config_checks.SHAPES} <= known


def test_another_eps_is_reported_and_accepted(tmp_path):
  written(tmp_path, "bert_base", **TEXT, head=None)
  model = models.create("bert_base", **TEXT, head=None, eps=1e-6)
  _, report = transfer.load_pretrained(tmp_path, model, initialized(model, IDS))
  assert report.differing == {"eps": "1e-12 published, 1e-06 here"}


def test_an_architecture_of_the_same_shapes_is_refused(tmp_path):
  images = np.zeros((1, 32, 32, 3), np.float32)
  settings = {"stages": (1, 1, 1, 1), "width": 4, "stem_width": 64}
  model, variables = written(
    tmp_path,
    "resnet50",
    images,
    family="timm/resnet",
    num_classes=3,
    **settings,
  )
  transfer.load_pretrained(tmp_path, model, variables)
  change(tmp_path, architecture="resnetblur50", model_type="timm/resnet")
  with pytest.raises(UserError, match="the path of the weights alone"):
    transfer.load_pretrained(tmp_path, model, variables)
  allowed = {"allow": "^config.json$"}
  _, report = transfer.load_pretrained(tmp_path, model, variables, **allowed)
  assert "resnetblur50" in report.differing["config.json"]
  file = tmp_path / "model.safetensors"
  transfer.load_pretrained(file, model, variables)


def test_an_unknown_architecture_of_timm_has_no_nearest_name():
  with pytest.raises(UserError) as error:
    transfer.FAMILIES["timm/convnext"].build(
      {"architecture": "convnextv2_tiny.fcmae"}
    )
  assert "convnext_tiny, convnext_small" in str(error.value)
  assert "did you mean" not in str(error.value)


def test_the_config_of_a_vit_has_an_architecture_of_timm():
  vit = models.ViT(
    num_classes=3,
    patch_size=4,
    image_size=12,
    pool="class",
    activation="gelu_exact",
    eps=1e-6,
  )
  family = transfer.FAMILIES["timm/vit"]
  config = family.describe(vit)
  assert config["architecture"] == "vit_base_patch16_224"
  assert config["model_args"]["patch_size"] == 4
  assert family.build(config).patch_size == 4


@pytest.mark.parametrize(
  "entry", [None, {}, {"input_size": None}, {"input_size": [3, 224, 224]}]
)
def test_an_empty_pretrained_cfg_has_the_default_image_size(entry):
  config = {"architecture": "resnet18", "pretrained_cfg": entry}
  (image,) = transfer.FAMILIES["timm/resnet"].inputs(config)
  assert image.shape == (1, 224, 224, 3)


def test_vgg_without_a_head_skips_the_published_dense_layers(tmp_path):
  images = np.zeros((1, 32, 32, 3), np.float32)
  own = {"stages": ((4,), (8,)), "dense": (16, 16), "grid": 2}
  model = models.create("vgg11", num_classes=3, **own)
  published = name_rules.save(
    transfer.FAMILIES["torchvision/vgg"].rules(model),
    trees.flatten(initialized(model, images)),
  )
  safetensors.write(tmp_path / "vgg.safetensors", published)
  headless = models.create("vgg11", head=None, **own)
  variables = initialized(headless, images)
  loaded, report = transfer.load_pretrained(
    tmp_path / "vgg.safetensors", headless, variables
  )
  assert len(report.matched) == len(trees.flatten(loaded)) == 4
  assert set(report.skipped) == {
    f"classifier.{i}.{name}" for i in (0, 3, 6) for name in ("weight", "bias")
  }


def test_a_vit_without_an_image_size_is_written_with_that_of_its_table(
  tmp_path,
):
  images = np.zeros((1, 12, 12, 1), np.float32)
  settings = {"patch_size": 4, "width": 8, "depth": 1, "num_heads": 2}
  _, variables = written(
    tmp_path, "vit_tiny", images, num_classes=3, **settings
  )
  config = json.loads((tmp_path / "config.json").read_text())
  assert (config["model_type"], config["image_size"]) == ("vit", 12)
  assert config["num_channels"] == 1
  loaded, again = transfer.from_pretrained(tmp_path)
  assert loaded.image_size == 12
  equal(again, variables)


def test_a_head_dim_that_differs_from_the_default_is_written(tmp_path):
  model, variables = written(
    tmp_path, "qwen2_0_5b", **TEXT, num_kv_heads=1, head_dim=6
  )
  config = json.loads((tmp_path / "config.json").read_text())
  assert (config["model_type"], config["head_dim"]) == ("qwen2", 6)
  loaded, again = transfer.from_pretrained(tmp_path)
  assert loaded.head_dim == model.head_dim
  equal(again, variables)


def test_a_base_published_without_a_pooler_has_none(tmp_path):
  _, variables = written(tmp_path, "bert_base", **TEXT, head=None)
  change(tmp_path, drop=("pooler.",))
  model, loaded = transfer.from_pretrained(tmp_path)
  assert not model.pooler
  del variables["params"]["pooler"]
  equal(loaded, variables)


def test_an_image_model_published_without_a_pooler_has_none(tmp_path):
  images = np.zeros((1, 8, 8, 3), np.float32)
  settings = {
    "patch_size": 4,
    "width": 8,
    "depth": 1,
    "num_heads": 2,
    "image_size": 8,
  }
  written(tmp_path, "vit_tiny", images, head=None, pooler=True, **settings)
  change(tmp_path, drop=("pooler.",))
  assert not transfer.from_pretrained(tmp_path)[0].pooler


@pytest.mark.parametrize(
  ("config", "settings", "message"),
  [
    ({"quantization_config": {"bits": 4}}, {}, "not quantized"),
    ({"model_type": "deit"}, {}, "a model_type among bert"),
    ({}, {"dtpye": "bfloat16"}, "did you mean 'dtype'"),
    ({"is_decoder": True}, {}, "has no such model"),
  ],
)
def test_unsupported_models_and_fields_are_refused(
  config, settings, message, tmp_path
):
  written(tmp_path, "bert_base", **TEXT, head=None)
  change(tmp_path, **config)
  with pytest.raises(UserError, match=message):
    transfer.from_pretrained(tmp_path, **settings)


def test_a_config_may_omit_default_values():
  bert = transfer.FAMILIES["bert"]
  assert bert.build({"hidden_act": "gelu_python"}).activation == "gelu_exact"
  (ids,) = bert.inputs({})
  assert ids.dtype == np.int32


RATES = {"resid_pdrop": 0.2, "attn_pdrop": 0.3}


@pytest.mark.parametrize("rates", [{}, RATES, {**RATES, "embd_pdrop": 0.4}])
def test_all_three_rates_of_gpt2_are_read_and_written(rates):
  family = transfer.FAMILIES["gpt2"]
  defaults = dict.fromkeys(("embd_pdrop", "resid_pdrop", "attn_pdrop"), 0.1)
  config = family.describe(family.build(rates))
  assert config == {**config, **defaults, **rates}
  model = family.build({**rates, "resid_pdrop": 0.0, "attn_pdrop": 0.0})
  program = jax.make_jaxpr(
    lambda variables: model.clone(**TEXT).apply(
      variables, IDS, train=True, rngs={"dropout": KEY}
    )
  )(initialized(model.clone(**TEXT), IDS))
  assert str(program).count("random_bits") == 1  # Of the embeddings.
  with pytest.raises(UserError, match="embedding_dropout to be a rate"):
    model.clone(embedding_dropout=-0.5).init(KEY, IDS, train=False)


@pytest.mark.parametrize("name", ["encoder_layerdrop", "decoder_layerdrop"])
def test_layers_that_marian_drops_are_refused(name):
  with pytest.raises(UserError, match=f"{name}=0.0"):
    transfer.FAMILIES["marian"].build({name: 0.1})


@pytest.mark.parametrize(
  "arguments",
  [None, {"drop_path_rate": 0.1}, {"dynamic_img_size": True, "in_chans": 1}],
)
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18"])
def test_arguments_without_an_effect_are_accepted(name, arguments):
  family = "timm/vit" if "vit" in name else "timm/resnet"
  config = {"architecture": name, "model_args": arguments}
  built = transfer.FAMILIES[family].build(config)
  plain = transfer.FAMILIES[family].build({"architecture": name})
  assert built == plain

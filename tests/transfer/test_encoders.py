"""Special cases of the published weights of encoders."""

import numpy as np
import pytest
from golden import golden
from rule_loading import load

from dlcore import models
from dlcore.errors import UserError
from dlcore.transfer import FAMILIES

TIMM = {"architecture": "vit_tiny_patch16_224"}


@pytest.mark.parametrize(
  ("family", "length", "other"), [("vit", 10, 17), ("npz/vit", 4, 9)]
)
def test_position_tables_of_square_images_are_resized(family, length, other):
  ((_, resize),) = FAMILIES[family].resize.items()
  table = np.random.default_rng(0).normal(size=(1, length, 3))
  new = resize(table.astype(np.float32), (1, other, 3))
  assert new.shape == (1, other, 3)
  for shape in ((1, other + 1, 3), (1, other, 4), (1, 8, 3)):
    with pytest.raises(ValueError, match=r"differs|not a square"):
      resize(table, shape)


@pytest.mark.parametrize(
  ("family", "config", "message"),
  [
    ("bert", {"position_embedding_type": "relative_key"}, "absolute"),
    ("bert", {"hidden_act": "gelu_newer"}, "did you mean 'gelu_new'"),
    ("bert", {"architectures": ["BertForQuiz"]}, "architecture"),
    ("vit", {"pooler_act": "relu"}, "pooler_act='tanh'"),
    ("timm/vit", {"architecture": "vit_giant_patch14_224"}, "vit_giant"),
    (
      "timm/vit",
      {"architecture": "deit3_small_patch16_224"},
      "deit3_small_patch16_224",
    ),
    ("timm/vit", {**TIMM, "model_args": {"reg_tokens": 4}}, "reg_tokens"),
    ("timm/vit", {**TIMM, "global_pool": "avg"}, "global_pool='token'"),
    ("npz/vit", {}, "create the model by name"),
  ],
)
def test_configs_of_unsupported_models_are_refused(family, config, message):
  with pytest.raises(UserError, match=message):
    FAMILIES[family].build(config)


def test_a_model_is_not_written_as_another_family():
  bert = models.create("bert_base", num_classes=2)
  distilbert = models.create("distilbert", num_classes=2)
  vit = models.create("vit_tiny", num_classes=2)
  for family, model in (
    ("bert", distilbert),
    ("distilbert", bert),
    ("vit", vit),
    ("timm/vit", vit),
  ):
    with pytest.raises(UserError, match="expected"):
      FAMILIES[family].describe(model)


def test_a_name_of_timm_contains_the_sizes():
  name = "vit_small_patch32_384.augreg_in21k"
  model = FAMILIES["timm/vit"].build({"architecture": name})
  shape = FAMILIES["timm/vit"].inputs({"architecture": name})[0].shape
  assert (model.width, model.num_heads, model.mlp_dim, model.depth) == (
    384,
    6,
    1536,
    12,
  )
  assert (model.patch_size, model.num_classes, shape) == (
    32,
    1000,
    (1, 384, 384, 3),
  )


def test_the_oldest_published_names_of_norms_are_read():
  case = golden("bert_base")
  rules, arrays = case.family.rules(case.model), case.loaded.arrays
  old = {
    name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
      "LayerNorm.bias", "LayerNorm.beta"
    ): array
    for name, array in case.arrays["weight"].items()
  }
  loaded = load(rules, old, arrays)
  assert not loaded.missing
  assert not loaded.unused

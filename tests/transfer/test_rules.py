import numpy as np
import pytest

from dlcore.transfer import rules
from dlcore.transfer.rules import CONV, DENSE, Rule, fused

RULES = [
  Rule("layer{i+1}.{j}.conv.weight", "params/stage_{i}_block_{j}/kernel", CONV),
  Rule(
    "h.{i}.qkv.weight",
    tuple(f"params/block_{{i}}/{n}/kernel" for n in ("query", "key", "value")),
    fused(3, 0, DENSE),
  ),
  Rule("head.weight", "params/head/kernel", DENSE),
  Rule("head.bias", "params/head/bias"),
]


def ours():
  draw = np.random.default_rng(0).normal
  arrays = {
    f"params/stage_{i}_block_{j}/kernel": draw(size=(3, 2, 4, 5))
    for i in (0, 9)
    for j in (0, 1)
  }
  for part in ("query", "key", "value"):
    arrays[f"params/block_11/{part}/kernel"] = draw(size=(4, 6))
  return arrays | {
    "params/head/kernel": draw(size=(4, 6)),
    "params/head/bias": draw(size=(6,)),
  }


def test_what_is_saved_is_loaded_with_the_same_bits():
  arrays = ours()
  published = rules.save(RULES, arrays)
  assert published["layer10.1.conv.weight"].shape == (5, 4, 3, 2)
  assert published["h.11.qkv.weight"].shape == (18, 4)
  loaded = rules.load(RULES, published, arrays)
  assert not loaded.missing
  assert not loaded.unused
  for path, array in arrays.items():
    np.testing.assert_array_equal(loaded.arrays[path], array)
  assert loaded.names["params/block_11/key/kernel"] == "h.11.qkv.weight"


def test_what_is_missing_and_what_is_left_over_is_told():
  arrays = ours()
  published = rules.save(RULES, arrays)
  del published["head.bias"]
  published["head.scale"] = np.ones(6)
  loaded = rules.load(RULES, published, [*arrays, "params/other"])
  assert loaded.missing == ["params/head/bias", "params/other"]
  assert loaded.unused == ["head.scale"]


def test_what_has_no_rule_cannot_be_saved():
  with pytest.raises(ValueError, match="params/tail"):
    rules.save(RULES, {"params/tail": np.ones(1)})


@pytest.mark.parametrize(
  ("template", "name", "numbers"),
  [
    ("a.{i}.b", "a.12.b", {"i": 12}),
    ("a{i+1}.{j}", "a1.0", {"i": 0, "j": 0}),
    ("a.{i}.b.{i}", "a.3.b.3", {"i": 3}),
    ("a.{i}.b.{i}", "a.3.b.4", None),
    ("a.{i}.b.{i+1}", "a.3.b.4", {"i": 3}),
    ("a.{i}.b.{i+1}", "a.3.b.5", None),
    ("a.{i}.b", "a.01.b", None),
    ("a.{i}.b", "axb", None),
    ("a.b", "a.b", {}),
    ("a.b", "a_b", None),
  ],
)
def test_templates_match_what_they_fill(template, name, numbers):
  assert rules.match(template, name) == numbers
  if numbers is not None:
    assert rules.fill(template, numbers) == name

import numpy as np
import pytest
from rule_loading import load

from dlcore.transfer.families import name_rules
from dlcore.transfer.families.name_rules import CONV, DENSE, Rule, fused

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


def our_arrays():
  normal = np.random.default_rng(0).normal
  arrays = {
    f"params/stage_{i}_block_{j}/kernel": normal(size=(3, 2, 4, 5))
    for i in (0, 9)
    for j in (0, 1)
  }
  for part in ("query", "key", "value"):
    arrays[f"params/block_11/{part}/kernel"] = normal(size=(4, 6))
  return arrays | {
    "params/head/kernel": normal(size=(4, 6)),
    "params/head/bias": normal(size=(6,)),
  }


def test_saved_arrays_load_bit_for_bit():
  arrays = our_arrays()
  published = name_rules.save(RULES, arrays)
  assert published["layer10.1.conv.weight"].shape == (5, 4, 3, 2)
  assert published["h.11.qkv.weight"].shape == (18, 4)
  loaded = load(RULES, published, arrays)
  assert not loaded.missing
  assert not loaded.unused
  for path, array in arrays.items():
    np.testing.assert_array_equal(loaded.arrays[path], array)
  assert loaded.names["params/block_11/key/kernel"] == "h.11.qkv.weight"


def test_missing_paths_and_unused_names_are_returned():
  arrays = our_arrays()
  published = name_rules.save(RULES, arrays)
  del published["head.bias"]
  published["head.scale"] = np.ones(6)
  loaded = load(RULES, published, [*arrays, "params/other"])
  assert loaded.missing == ["params/head/bias", "params/other"]
  assert loaded.unused == ["head.scale"]


def test_saving_a_path_without_a_rule_fails():
  with pytest.raises(ValueError, match="params/tail"):
    name_rules.save(RULES, {"params/tail": np.ones(1)})


@pytest.mark.parametrize(
  ("template", "name", "indices"),
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
def test_a_template_matches_the_names_that_it_fills(template, name, indices):
  assert name_rules.match(template, name) == indices
  if indices is not None:
    assert name_rules.fill(template, indices) == name


def test_planning_needs_names_only():
  rules = [Rule("w.{i}", "params/block_{i}/kernel")]
  paths = ["params/block_0/kernel", "params/block_1/kernel"]
  plan = name_rules.assign(rules, ["w.1", "v"], paths)
  assert [read[:2] for read in plan.reads] == [("w.1", (paths[1],))]
  assert plan.missing == paths[:1]
  assert plan.unused == ["v"]

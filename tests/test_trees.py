import jax
import numpy as np
import pytest

from dlcore import trees

TREE = {"a": {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}, "b": np.ones(())}


def test_flatten_names_leaves_by_path_and_nest_is_its_inverse():
  flat = trees.flatten(TREE)
  assert list(flat) == ["a/bias", "a/kernel", "b"]
  assert trees.flatten(trees.nest(flat)).keys() == flat.keys()


def test_restore_fills_a_template_of_any_structure():
  template = (np.zeros(2), {"x": np.zeros(1)})
  flat = {"0": np.array([1.0, 2.0]), "1/x": np.array([3.0])}
  first, second = trees.restore(template, flat)
  assert first.tolist() == [1, 2]
  assert second["x"].tolist() == [3]


def test_restore_keeps_empty_dicts_of_the_template():
  template = {"params": TREE, "model_state": {}, "opt": {"count": {}}}
  restored = trees.restore(template, trees.flatten(template))
  assert jax.tree.structure(restored) == jax.tree.structure(template)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"b": None}, "b is missing"),
    ({"c": np.ones(1)}, "c is unexpected"),
    ({"b": np.ones(2)}, r"b has \(\(2,\)"),
    ({"b": np.ones((), np.int32)}, "int32"),
  ],
)
def test_restore_refuses_leaves_that_do_not_fit(change, message):
  flat = {**trees.flatten(TREE), **change}
  flat = {path: leaf for path, leaf in flat.items() if leaf is not None}
  with pytest.raises(ValueError, match=message):
    trees.restore(TREE, flat)


def test_select_returns_the_first_rule_that_matches():
  rules = [("bias$", 0), ("^a/", 1)]
  assert [trees.select(rules, path, 2) for path in trees.flatten(TREE)] == [
    0,
    1,
    2,
  ]


@pytest.mark.parametrize(
  ("pattern", "rest", "matched"),
  [
    ("bias", ["a/kernel", "b"], ["a/bias"]),
    ("^a/", ["b"], ["a/bias", "a/kernel"]),
    ("", [], ["a/bias", "a/kernel", "b"]),
    ("nothing", ["a/bias", "a/kernel", "b"], []),
  ],
)
def test_partition_separates_leaves_by_path_and_prunes_empty_dicts(
  pattern, rest, matched
):
  parts = trees.partition(TREE, pattern)
  assert [list(trees.flatten(part)) for part in parts] == [rest, matched]
  assert all("a" not in part or part["a"] for part in parts)
  if not matched:
    assert parts[1] == {}


@pytest.mark.parametrize("pattern", ["bias", "^a/", "", "nothing"])
def test_merge_is_the_inverse_of_partition(pattern):
  for parts in (
    trees.partition(TREE, pattern),
    reversed(trees.partition(TREE, pattern)),
  ):
    merged = trees.merge(*parts)
    assert jax.tree.structure(merged) == jax.tree.structure(TREE)
    jax.tree.map(np.testing.assert_array_equal, merged, TREE)


@pytest.mark.parametrize("other", [{"a": {"bias": 1}}, {"a": 1}, {"b": {}}])
def test_merge_refuses_a_path_of_both_trees(other):
  with pytest.raises(ValueError, match="is in both trees"):
    trees.merge(TREE, other)


def test_merge_names_the_whole_path_of_an_overlap():
  with pytest.raises(ValueError, match=r"^a/bias is in both trees"):
    trees.merge(TREE, {"a": {"bias": 1}})


def test_count_adds_all_scalars():
  assert trees.count(TREE) == 6 + 3 + 1

import numpy as np
import pytest

from dlcore import trees

TREE = {"a": {"kernel": np.ones((2, 3)), "bias": np.zeros(3)}, "b": np.ones(())}


def test_flatten_names_leaves_by_path_and_nest_is_its_inverse():
  flat = trees.flatten(TREE)
  assert list(flat) == ["a/bias", "a/kernel", "b"]
  assert trees.flatten(trees.nest(flat)).keys() == flat.keys()


def test_restore_fills_a_template_of_any_kind():
  template = (np.zeros(2), {"x": np.zeros(1)})
  flat = {"0": np.array([1.0, 2.0]), "1/x": np.array([3.0])}
  first, second = trees.restore(template, flat)
  assert first.tolist() == [1, 2]
  assert second["x"].tolist() == [3]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"b": None}, "b is missing"),
    ({"c": np.ones(1)}, "c is left over"),
    ({"b": np.ones(2)}, r"b has \(\(2,\)"),
    ({"b": np.ones((), np.int32)}, "int32"),
  ],
)
def test_restore_refuses_what_does_not_fit(change, message):
  flat = {**trees.flatten(TREE), **change}
  flat = {path: leaf for path, leaf in flat.items() if leaf is not None}
  with pytest.raises(ValueError, match=message):
    trees.restore(TREE, flat)


def test_select_takes_the_first_rule_that_is_found():
  rules = [("bias$", 0), ("^a/", 1)]
  assert [trees.select(rules, path, 2) for path in trees.flatten(TREE)] == [
    0,
    1,
    2,
  ]


def test_count_adds_all_scalars():
  assert trees.count(TREE) == 6 + 3 + 1

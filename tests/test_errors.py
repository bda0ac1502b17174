import pytest

from dlcore.errors import UserError, lookup, nearest


def test_lookup_names_the_nearest():
  with pytest.raises(UserError) as caught:
    lookup({"resnet18": 1, "mlp": 2}, "resnet81", "model")
  assert caught.value.lines == (
    "expected the name of a known model",
    "got 'resnet81'",
    "did you mean 'resnet18'?",
  )


def test_nearest_lists_all_where_none_is_near():
  assert nearest("xyz", ["b", "a"]) == "there are: a, b"
  assert nearest("xyz", []) == "there are none"


def test_empty_lines_are_left_out():
  assert UserError("a", "", "c").lines == ("a", "c")

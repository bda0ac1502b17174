import pytest

from dlcore.errors import (
  UserError,
  check_choice,
  check_settings,
  lookup,
  nearest,
)


def lines(function, *arguments, **settings):
  with pytest.raises(UserError) as caught:
    function(*arguments, **settings)
  return caught.value.lines


def test_lookup_suggests_the_nearest_name():
  assert lines(lookup, {"resnet18": 1, "mlp": 2}, "resnet81", "model") == (
    "unknown model 'resnet81'",
    "did you mean 'resnet18'?",
  )


def test_nearest_lists_all_names_if_none_is_similar():
  assert nearest("xyz", ["b", "a"]) == "choose from: a, b"
  assert nearest("xyz", []) == "none is available"


def test_empty_lines_are_omitted():
  assert UserError("a", "", "c").lines == ("a", "c")


def test_a_choice_is_checked_by_the_name_of_its_argument():
  check_choice("on_bad", "skip", ("error", "skip"))
  assert lines(check_choice, "on_bad", "skp", ("error", "skip")) == (
    "expected on_bad to be 'error' or 'skip'",
    "got 'skp'",
  )
  assert lines(check_choice, "pool", None, ("mean",)) == (
    "expected pool to be 'mean'",
    "got None",
  )
  assert "did you mean 'gelu'?" in lines(
    check_choice, "activation", "gleu", ("relu", "gelu", "silu", "tanh")
  )


def test_an_unknown_setting_suggests_the_nearest_argument():
  def model(width: int, *, depth: int = 1, name: str = ""):
    del width, depth, name

  check_settings(model, {"width": 1, "depth": 2}, "model 'mlp'")
  assert lines(check_settings, model, {"widht": 1}, "model 'mlp'") == (
    "model 'mlp' has no argument 'widht'",
    "did you mean 'width'?",
  )
  assert lines(check_settings, model, ["name"], "it", exclude={"name"}) == (
    "it has no argument 'name'",
    "choose from: depth, width",
  )


def test_a_function_with_arbitrary_keywords_accepts_every_setting():
  check_settings(lambda **settings: settings, ["anything"], "it")
  assert lines(check_settings, lambda *values: values, ["values"], "it")

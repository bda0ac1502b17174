import re
import tomllib
from pathlib import Path

import pytest

from dlcore import errors
from dlcore.errors import (
  UserError,
  check_choice,
  check_settings,
  lookup,
  nearest,
)

ROOT = Path(__file__).parents[1]


def lines(function, *arguments, **settings):
  with pytest.raises(UserError) as caught:
    function(*arguments, **settings)
  return caught.value.lines


def test_lookup_suggests_the_nearest_name():
  assert lines(lookup, {"resnet18": 1, "mlp": 2}, "resnet81", "model") == (
    "unknown model 'resnet81'",
    "did you mean 'resnet18'?",
  )


def test_nearest_ignores_upper_case():
  assert nearest("Y", ["x", "y"]) == "did you mean 'y'?"
  assert nearest("sepal", ["Sepal", "Petal"]) == "did you mean 'Sepal'?"


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


def test_packages_of_extras_are_those_of_the_project():
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  extras = project["optional-dependencies"]
  for name, packages in errors.EXTRAS.items():
    declared = [re.split("[>=<]", entry)[0] for entry in extras[name]]
    assert declared == list(packages)


def test_extras_are_installed_in_a_checkout_and_in_a_package(monkeypatch):
  assert errors.install_hint("heif") == "uv sync --extra heif"
  monkeypatch.setattr(errors, "__file__", "/usr/lib/dlcore/errors.py")
  assert errors.install_hint("heif") == "pip install pillow-heif"


def test_no_file_installs_the_distribution_of_another_project():
  files = [ROOT / "README.md", *ROOT.glob("dlcore/**/*.py")]
  files += ROOT.glob("experiments/**/*.py")
  pattern = re.compile(r"pip install \S*dlcore(\[|\s|'|\"|$)")
  assert [f for f in files if pattern.search(f.read_text())] == []

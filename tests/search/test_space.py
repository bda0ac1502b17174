"""Spaces: their text, their checks, their grids."""

import pytest

from dlcore import search
from dlcore.errors import UserError
from dlcore.search import space
from dlcore.search.algorithms import Request, grid_points
from dlcore.search.search_run import check_configs

ALL = {
  "optim.learning_rate": search.log(1e-4, 1e-1),
  "model.dropout": search.uniform(0, 0.5),
  "data.batch_size": search.integer(16, 256, log=True),
  "model.widths": search.choice((64,), (128, 64)),
  "optim.name": search.choice("adamw", "sgd"),
  "optim.momentum": search.when("optim.name", "sgd", search.uniform(0, 0.99)),
}
TEXT = """
  optim.learning_rate=log(1e-4, 1e-1)  model.dropout=uniform(0,0.5)
  data.batch_size=integer(16, 256, log) model.widths=(64,)|(128, 64)
  optim.name=adamw|sgd optim.momentum[optim.name=sgd]=uniform(0, 0.99)
"""


def test_text_and_python_give_the_same_space():
  assert search.parse(TEXT) == ALL
  space.check(ALL)


def test_a_distribution_prints_as_the_text_that_is_parsed():
  for path, one in ALL.items():
    inner = space.inner(one)
    assert search.parse(f"{path}={inner}") == {path: inner}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "one path or more"),
    ("rate", "PATH=DISTRIBUTION"),
    ("rate=", "PATH=DISTRIBUTION"),
    ("=log(1,2)", "PATH=DISTRIBUTION"),
    ("rate=log(1e-4,", "two numbers"),
    ("rate=log(1e-4)", "two numbers"),
    ("rate=log(a,b)", "two numbers"),
    ("rate=uniform(1,2,3)", "two numbers"),
    ("rate=log(0,1)", "above 0"),
    ("rate=log(-1,1)", "above 0"),
    ("rate=uniform(2,1)", r"write uniform\(1, 2\)"),
    ("rate=uniform(1,1)", "below the upper"),
    ("rate=uniform(0,1e999)", "finite"),
    ("depth=integer(1.5,3)", "integers"),
    ("rate=1", "two or more different"),
    ("rate=1|1", "two or more different"),
    ("rate=1|2 rate=1|2", "once"),
    ("a[a=1]=1|2", "leads back"),
    ("a[b=1]=1|2 b[a=1]=1|2", "leads back"),
    ("a[b=3]=1|2 b=1|2", "not one of 1|2"),
  ],
)
def test_wrong_spaces_are_refused(text, message):
  with pytest.raises(UserError, match=message) as caught:
    space.check(search.parse(text))
  assert len(caught.value.lines) <= 3


@pytest.mark.parametrize(
  "wrong",
  [None, [], {}, {"a": 3}, {3: search.log(1, 2)}, {"a": search.choice(1, {})}],
)
def test_values_that_are_no_space_are_refused(wrong):
  with pytest.raises(UserError):
    space.check(wrong)


def test_a_grid_has_each_combination_of_active_parameters_once():
  names = {"name": search.choice("a", "b")}
  nested = {
    **names,
    "x": search.when("name", "a", search.uniform(0, 1)),
    "y": search.when("name", "b", search.integer(1, 2)),
  }
  points = grid_points(Request(nested, {}, 0, 0))
  assert len(points) == 5 + 2
  assert {"name": "b", "y": 2} in points
  assert {"name": "a", "x": 0.25} in points


def test_a_grid_has_as_many_points_as_there_are_trials_for():
  square = {"x": search.uniform(0, 1), "y": search.log(0.01, 1)}
  assert len(grid_points(Request(square, {}, 10, 0))) == 9
  assert len(grid_points(Request(square, {}, 4, 0))) == 4
  [low, *_, high] = sorted(
    p["y"] for p in grid_points(Request(square, {}, 9, 0))
  )
  assert (low, high) == (0.01, 1)


def test_a_config_must_have_the_paths_and_accept_the_values():
  from dlcore import experiment

  config = experiment.complete({"model": {"name": "mlp"}})
  check_configs(config, {p: ALL[p] for p in ALL})
  for text, message in (
    ("optim.learning_rat=log(1e-4,1)", "learning_rate"),
    ("optim.momentum=uniform(0,1)", "optim.momentum"),
    ("optim=adamw|sgd", "section"),
    ("model.widths=a|b", "of type"),
    ("optim.weight_decay=uniform(-1,1)", ">= 0"),
    ("optim.name=adamw|sdg", "sgd"),
  ):
    with pytest.raises(UserError, match=message):
      check_configs(config, search.parse(text))

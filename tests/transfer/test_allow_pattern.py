"""The suggested `allow` permits exactly the names of an error."""

import re

import pytest

from dlcore.transfer.allow_pattern import allow_pattern

LAYER = "params/block_{i}/{layer}/{name}"
PATHS = [
  LAYER.format(i=i, layer=layer, name=name)
  for i in (1, 2, 10)
  for layer in ("norm", "attention")
  for name in ("scale", "bias")
]


def layer(start):
  return [path for path in PATHS if path.startswith(start)]


@pytest.mark.parametrize(
  ("names", "pattern"),
  [
    (["params/block_1/norm/bias"], "^params/block_1/norm/bias$"),
    (layer("params/block_1/"), "^params/block_1/"),
    (
      [*layer("params/block_1/norm/"), *layer("params/block_2/norm/")],
      "^params/block_1/norm/|^params/block_2/norm/",
    ),
    ([*layer("params/block_1/norm/"), "cls.a.weight"], None),
    (["bn.a", "bn.b", "bn.c"], "^bn[.]"),
    (["cls.predictions.a", "cls.predictions.b.c", "cls.predictions.b.d"], None),
  ],
)
def test_a_pattern_matches_the_names_and_no_others(names, pattern):
  others = [path for path in PATHS if path not in names] + ["clsx", "bnx.a"]
  allow = allow_pattern(names, others)
  if pattern:
    assert allow == pattern
  assert all(re.search(allow, name) for name in names)
  assert not any(re.search(allow, name) for name in others)
  assert "\\" not in allow


def test_prefixes_are_as_narrow_as_their_names():
  names = ["cls.predictions.a", "cls.predictions.b.c", "cls.predictions.b.d"]
  assert allow_pattern(names, PATHS) == "^cls[.]predictions[.]"


@pytest.mark.parametrize(
  "names",
  [
    [f"layer_{i}/scale" for i in range(20)],
    ["a" * 300],
    ["x'; rm -rf /", "y"],
    ["a\nb"],
    ["a|b"],
  ],
)
def test_long_and_unusual_names_have_no_pattern(names):
  assert allow_pattern(names, PATHS) == ""

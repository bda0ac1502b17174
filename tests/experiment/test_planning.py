"""Settings that follow from the number of training examples."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlcore import experiment
from dlcore.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"
PLAN = experiment.Plan(batch_size=64, epochs=10.0, examples=40_000)


def config(batch_size=64, epochs=10.0, steps=0, strategy="full"):
  return {
    "init": {"strategy": {"name": strategy}},
    "data": {"batch_size": batch_size},
    "training": {"epochs": epochs, "steps": steps},
  }


@pytest.mark.parametrize(
  ("size", "batch_size", "epochs", "eval_every"),
  [
    # 8 steps of an epoch at least, 60 epochs at most.
    (5, 1, 60.0, 30),
    (100, 8, 60.0, 75),
    (511, 32, 60.0, 95),
    (512, 64, 60.0, 48),
    # So many epochs that 40,000 examples are seen.
    (4_000, 64, 10.0, 62),
    # 5 epochs at least.
    (1_000_000, 64, 5.0, 7_812),
  ],
)
def test_few_examples_have_small_batches_and_many_epochs(
  size, batch_size, epochs, eval_every
):
  assert PLAN.leaves(config(), size) == {
    "data.batch_size": batch_size,
    "training.epochs": epochs,
    "training.eval_every": eval_every,
  }


@pytest.mark.parametrize(
  ("size", "batch_size", "epochs"),
  # Batches of 32 for pairs of each class, of all examples at most, and as many
  # more epochs at most.
  [(16, 16, 480.0), (100, 32, 240.0), (4_000, 64, 10.0)],
)
def test_few_examples_have_batches_of_pairs_for_setfit(
  size, batch_size, epochs
):
  leaves = PLAN.leaves(config(strategy="setfit"), size)
  assert leaves["data.batch_size"] == batch_size
  assert leaves["training.epochs"] == epochs


def test_values_of_the_command_line_are_kept():
  leaves = PLAN.leaves(config(batch_size=32, epochs=3.0), 3_200)
  assert leaves == {"training.eval_every": 30}
  assert PLAN.leaves(config(steps=50), 4_000)["training.eval_every"] == 5


@pytest.mark.parametrize(
  ("strategy", "rate", "expected"),
  [
    ("full", 0.01, {"optim.learning_rate": 1e-4}),
    # One of the command line, and a strategy with the rate of the config.
    ("full", 0.02, {}),
    ("head", 0.01, {}),
  ],
)
def test_a_strategy_has_a_learning_rate_of_its_own(strategy, rate, expected):
  plan = PLAN._replace(learning_rate=0.01, rates={"full": 1e-4})
  tree = {**config(strategy=strategy), "optim": {"learning_rate": rate}}
  leaves = plan.leaves(tree, 4_000)
  found = {name: leaves[name] for name in leaves if name.startswith("optim")}
  assert found == expected


def test_a_plan_is_that_of_the_limited_data(tmp_path):
  rows = [f"{word} {i},{word}" for i in range(200) for word in ("a", "b")]
  (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]))
  for name in ("cat", "dog"):
    (tmp_path / "images" / name).mkdir(parents=True)
    for i in range(40):
      image = np.full((8, 8), 3 * i, np.uint8)
      Image.fromarray(image).save(tmp_path / "images" / name / f"{i}.png")
  for file, settings in (
    ("text", {"path": "texts.csv", "text": "text", "target": "label"}),
    ("images", {"path": "images"}),
  ):
    path = {"data.path": str(tmp_path / settings.pop("path"))}
    overrides = {f"data.{key}": value for key, value in settings.items()}

    def read(limit, file=file, overrides=overrides | path):
      limited = {**overrides, "data.limit": str(limit)}
      source = str(CONFIGS / f"{file}.py")
      return experiment.read_config(source, limited, near=None)[0]

    few, all_of_them = read(16), read(0)
    section = few["training"]
    assert few["data"]["batch_size"] < all_of_them["data"]["batch_size"]
    steps = experiment.build(few).steps
    # 10 or 20 evaluations of the run, not of one of all examples.
    assert 8 <= steps / section["eval_every"] <= 25
    with pytest.raises(UserError, match=r"expected data\.limit from 1 to"):
      experiment.build(read(1000))


def test_a_translator_without_a_path_has_the_messages_of_the_package(tmp_path):
  file = runpy.run_path(str(CONFIGS / "translation.py"))
  tree = file["get_config"]().to_dict()
  leaves = file["plan"](tree, "")
  assert Path(leaves["data.path"]).is_file()
  assert leaves["training.epochs"] == pytest.approx(37, abs=1)
  own = tmp_path / "own.tsv"
  rows = [f"the {i}\tle {i}\n" for i in range(40)]
  own.write_text("english\tfrench\n" + "".join(rows))
  tree["data"]["path"] = str(own)
  assert "data.path" not in (leaves := file["plan"](tree, ""))
  assert leaves["data.batch_size"] == 2
  tree["data"]["path"] = str(tmp_path / "missing.csv")
  assert file["plan"](tree, "") == {}  # The run reports it.

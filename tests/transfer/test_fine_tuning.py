"""Published weights as the start of a training run with a new head."""

import inspect
import json
import textwrap

import jax
import numpy as np
import pytest
from small_models import IDS, TEXT, written

from dlcore import data, models, optim, tasks, training, transfer, trees
from dlcore.errors import UserError
from dlcore.transfer.io import safetensors

IMAGES = np.zeros((1, 8, 8, 1), np.float32)
VIT = {
  "patch_size": 4,
  "width": 8,
  "depth": 1,
  "num_heads": 2,
  "image_size": 8,
  "num_classes": 5,
}


def without(folder, part):
  """Removes arrays from a folder."""
  path = folder / "model.safetensors"
  arrays = {k: np.array(a) for k, a in safetensors.File(path).items()}
  kept = {name: a for name, a in arrays.items() if part not in name}
  assert len(kept) < len(arrays)
  safetensors.write(path, kept)


def differing(left, right):
  """Returns the paths whose values or shapes differ, with those of one side."""
  left, right = trees.flatten(left), trees.flatten(right)
  return {
    path
    for path in left.keys() | right.keys()
    if path not in left
    or path not in right
    or left[path].shape != right[path].shape
    or np.any(np.asarray(left[path]) != np.asarray(right[path]))
  }


HEAD = {"params/head/kernel", "params/head/bias"}


def test_another_number_of_classes_gives_a_new_head_that_is_reported(
  tmp_path, caplog
):
  _, published = written(tmp_path, "vit_tiny", IMAGES, **VIT)
  caplog.set_level("INFO", "dlcore")
  model, variables = transfer.from_pretrained(tmp_path, num_classes=3, seed=1)
  assert model.num_classes == 3
  assert differing(variables, published) == HEAD
  init = jax.jit(model.init, static_argnames="train")
  fresh = init(jax.random.key(1), IMAGES, train=False)
  assert not HEAD & differing(variables, fresh)
  warnings = [r.message for r in caplog.records if r.levelname == "WARNING"]
  assert warnings == [
    "initialized at random with seed 1: params/head/bias; params/head/kernel"
  ]
  assert "[8, 5] published, [8, 3] here" in caplog.text
  assert "matched " in caplog.text
  _, other = transfer.from_pretrained(tmp_path, num_classes=3, seed=2)
  assert "params/head/kernel" in differing(variables, other)


def test_a_published_head_of_the_same_shape_is_loaded(tmp_path, caplog):
  _, published = written(tmp_path, "vit_tiny", IMAGES, **VIT)
  _, variables = transfer.from_pretrained(tmp_path, num_classes=5)
  assert not differing(variables, published)
  assert not caplog.records


@pytest.mark.parametrize("head", [None, "mlm"])
def test_classes_replace_the_head_of_an_encoder(head, tmp_path):
  _, published = written(tmp_path, "bert_base", IDS, **TEXT, head=head)
  model, variables = transfer.from_pretrained(tmp_path, num_classes=3)
  assert (model.head, model.num_classes) == ("classifier", 3)
  new = {path for path in trees.flatten(published) if "mlm_" in path} | HEAD
  if head:  # A model that predicts tokens has no pooler.
    new |= {"params/pooler/kernel", "params/pooler/bias"}
  assert differing(variables, published) == new
  tokens, _ = transfer.from_pretrained(tmp_path, num_classes=3, head="tokens")
  assert tokens.head == "tokens"


def test_zero_classes_are_refused(tmp_path):
  fields = {**VIT, "num_classes": None, "head": None}
  written(tmp_path, "vit_tiny", IMAGES, **fields)
  with pytest.raises(UserError, match="num_classes"):
    transfer.from_pretrained(tmp_path, num_classes=0)


@pytest.mark.parametrize("seed", ["x", 1.5, True, None])
def test_a_seed_is_an_integer(seed, tmp_path):
  with pytest.raises(UserError, match="expected seed to be an integer"):
    transfer.from_pretrained(tmp_path, seed=seed)


def test_a_new_head_sets_the_fields_that_depend_on_it(tmp_path):
  fields = {**VIT, "num_classes": None}
  written(tmp_path, "vit_tiny", IMAGES, **fields, head=None, pooler=True)
  model, variables = transfer.from_pretrained(tmp_path, num_classes=3)
  assert not model.pooler
  assert "pooler" not in variables["params"]
  assert transfer.default_family(model) == "vit"


def test_new_heads_are_possible_in_every_format(tmp_path):
  fields = {**VIT, "pool": "class", "activation": "gelu_exact", "eps": 1e-6}
  for family in ("vit", "timm/vit", "dlcore"):
    folder = tmp_path / family
    model, variables = written(
      folder, "vit_tiny", IMAGES, family=family, **fields
    )
    if family == "dlcore":
      own = {"model": {"name": "vit_tiny", **fields}, "input": [8, 8, 1]}
      transfer.save_pretrained(
        folder, model, variables, family=family, config=own
      )
    model, loaded = transfer.from_pretrained(folder, num_classes=3)
    assert differing(loaded, variables) == HEAD, family


def test_another_image_size_resizes_the_positions(tmp_path, caplog):
  _, published = written(tmp_path, "vit_tiny", IMAGES, **VIT)
  caplog.set_level("INFO", "dlcore")
  model, variables = transfer.from_pretrained(tmp_path, image_size=16)
  assert model.image_size == 16
  assert variables["params"]["position"].shape == (1, 17, 8)
  assert differing(variables, published) == {"params/position"}
  assert "[1, 5, 8] to [1, 17, 8], resized" in caplog.text


def test_the_class_names_of_the_old_head_are_not_written(tmp_path):
  written(tmp_path / "a", "vit_tiny", IMAGES, **VIT)
  path = tmp_path / "a" / "config.json"
  labels = {str(i): name for i, name in enumerate("abcde")}
  path.write_text(
    json.dumps({**json.loads(path.read_text()), "id2label": labels})
  )
  model, variables = transfer.from_pretrained(tmp_path / "a", num_classes=3)
  transfer.save_pretrained(tmp_path / "b", model, variables)
  config = json.loads((tmp_path / "b" / "config.json").read_text())
  assert config["id2label"] == {str(i): f"LABEL_{i}" for i in range(3)}


@pytest.mark.parametrize(
  ("name", "family", "fields", "expected"),
  [
    ("vit_tiny", "vit", {"head": "lm"}, "head=None or 'classifier'"),
    ("vit_tiny", "vit", {"num_clases": 3}, "did you mean 'num_classes'"),
    ("vit_tiny", "timm/vit", {"head": "lm"}, "classifier"),
  ],
)
def test_an_unknown_head_is_three_lines(
  name, family, fields, expected, tmp_path
):
  own = {**VIT, "pool": "class", "activation": "gelu_exact", "eps": 1e-6}
  written(tmp_path, name, IMAGES, family=family, **own)
  with pytest.raises(UserError) as error:
    transfer.from_pretrained(tmp_path, **fields)
  assert expected in str(error.value)


def test_the_suggested_allow_initializes_a_missing_layer(tmp_path):
  fields = {**TEXT, "head": "classifier", "num_classes": 2}
  _, published = written(tmp_path, "bert_base", IDS, **fields)
  allow = ""
  for part in ("pooler", "query"):
    without(tmp_path, f"{part}.")
    with pytest.raises(UserError) as error:
      transfer.from_pretrained(tmp_path, allow=allow)
    advice = error.value.lines[2].split("allow='")[1].split("'")[0]
    allow = "|".join(filter(None, [allow, advice]))
    _, variables = transfer.from_pretrained(tmp_path, allow=allow)
    new = differing(variables, published)
    assert any(part in path for path in new)
    assert all("pooler" in path or "query" in path for path in new)


@pytest.mark.slow
def test_the_example_of_fine_tuning_trains_from_the_weights(tmp_path):
  fields = {**TEXT, "head": "classifier", "num_classes": 5}
  _, published = written(tmp_path, "bert_base", **fields)
  paragraphs = inspect.getdoc(transfer.from_pretrained).split("\n\n")
  (code,) = (p for p in paragraphs if "transfer.initial(" in p)
  generator = np.random.default_rng(0)
  names = {
    "folder": tmp_path,
    "tasks": tasks,
    "training": training,
    "transfer": transfer,
    "tx": optim.create("sgd", learning_rate=0.0),
    "steps": 2,
    "train": data.from_arrays(
      {
        "input_ids": generator.integers(0, 11, (128, 4)),
        "label": generator.integers(0, 3, 128),
      },
    ),
  }
  exec(textwrap.dedent(code), names)
  params = {"params": names["result"].last.params}
  assert not differing(params, names["variables"])
  assert differing(params, published) == HEAD


@pytest.fixture(scope="module")
def task_variables():
  """Returns `(variables, trees of the task)` of a task with frozen blocks."""
  model = models.create("vit_tiny", **VIT)
  task = tasks.freeze(tasks.classification(model), "^block")
  batch = {"image": np.zeros((2, 8, 8, 1), np.uint8), "label": np.zeros(2)}
  shapes = jax.eval_shape(task.init, jax.random.key(0), batch)
  values = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  return task, values


def test_initial_variables_are_those_of_the_model_with_frozen_ones(
  tmp_path, task_variables
):
  written(tmp_path, "vit_tiny", IMAGES, **VIT)
  _, variables = transfer.from_pretrained(tmp_path)
  task, (params, model_state) = task_variables
  assert "frozen" in model_state
  new = transfer.initial(variables)(params, model_state)
  assert jax.tree.structure(new) == jax.tree.structure((params, model_state))
  assert not differing(task.variables(*new), variables)
  # The buffers belong to the task, whose trainer donates them.
  jax.tree.map(lambda leaf: leaf.delete(), new)
  assert np.isfinite(trees.flatten(variables)["params/head/bias"]).all()


def test_initial_variables_of_another_model_are_three_lines(
  tmp_path, task_variables
):
  _, variables = written(tmp_path, "vit_tiny", IMAGES, **VIT | {"width": 4})
  with pytest.raises(UserError, match=r"instead of .* more") as error:
    transfer.initial(variables)(*task_variables[1])
  assert len(error.value.lines) == 3
  with pytest.raises(UserError, match="parameters alone"):
    transfer.initial(variables["params"])

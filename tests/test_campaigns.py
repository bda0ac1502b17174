"""Short forms of the long measurements."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import peers, problems, tax
from campaigns import stress_models
from campaigns.mutation import sites
from campaigns.paired_bootstrap import auc, compare, compare_auc

from dlcore import data, experiment
from dlcore.errors import UserError

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["batch norm", "carry"])
def test_killed_runs_end_with_the_bits_of_an_undisturbed_one(tmp_path, kind):
  result = subprocess.run(
    [
      sys.executable,
      "experiments/campaigns/kills.py",
      "--runs=2",
      "--phases=write,step",
      f"--kinds={kind}",
      f"--workdir={tmp_path / 'kills'}",
    ],
    cwd=ROOT,
    # One device: eight take twice as long. Programs without optimization run
    # longer than they save in compilation.
    env={**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=1"},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 0, result.stdout + result.stderr
  counts = json.loads(result.stdout.splitlines()[-1])
  assert counts["different"] == 0
  assert counts["runs"] == 2
  assert counts["kills"] >= 2


@pytest.fixture
def campaigns(monkeypatch):
  """The folder of the campaigns, from which their scripts import."""
  monkeypatch.syspath_prepend(str(ROOT / "experiments" / "campaigns"))


@pytest.mark.slow
def test_the_campaigns_disturb_every_kind_of_task_of_texts(campaigns):
  from text_kinds import TEXTS

  parts = {
    name: experiment.build(kind.complete()) for name, kind in TEXTS.items()
  }
  used = {run.config["task"]["name"] for run in parts.values()}
  assert used == {
    "classification",
    "tagging",
    "language_model",
    "masked_language_model",
    "sequence_to_sequence",
  }
  for name, run in parts.items():
    section = run.config["data"]
    order = data.SAMPLINGS[section["sampling"]](
      run.splits.train, section["batch_size"]
    )
    assert order.size == 300
    assert (len(order.shapes) > 1) == ("buckets" in name)
    assert run.config["task"].get("carry", False) == ("carry" in name)


@pytest.mark.slow
def test_the_campaigns_disturb_strategies_of_transfer(campaigns):
  from transfer_kinds import TRANSFER

  parts = {
    name: experiment.build(kind.complete()) for name, kind in TRANSFER.items()
  }
  counts = {name: len(run.earlier) + 1 for name, run in parts.items()}
  assert counts == {
    "transfer: head, cached features": 1,
    "transfer: fine_tune, cached features": 2,
    "transfer: gradual": 3,
    "transfer: setfit": 2,
    "transfer: lora": 1,
    "transfer: lora, int8": 1,
  }
  for name, run in parts.items():
    [first, *_] = [*run.earlier, run]
    moved = any(run.config["data"]["augment"].values())
    assert (first.phase.caches and not moved) == ("cached" in name)


@pytest.mark.slow
def test_hostile_texts_have_their_right_outcome(campaigns, tmp_path):
  """Those whose outcome is known, of every format that they apply to."""
  from hostile_inputs import text_data, valid_texts

  valid = tmp_path / "valid"
  valid.mkdir()
  valid_texts.write(valid)
  names = ("encoding", "byte order mark", "missing column", "one tag",
           "unequal files", "unequal tags")  # fmt: skip
  for number, name in enumerate(names * 10):
    folder = tmp_path / str(number)
    folder.mkdir()
    generator = random.Random(number)
    case = text_data.KIND.written[name](folder, generator, valid)
    if name == "byte order mark":
      assert case.silent(case.call()) == ""
      continue
    with pytest.raises(UserError) as error:
      case.call()
    assert len(error.value.lines) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", peers.PEERS)
def test_the_steps_that_are_compared_with_pytorch_run(name):
  peer = peers.PEERS[name]._replace(batch=2, steps=1)
  losses = peers.steps_of_dlcore(peer, peer.source())()
  assert len(losses) == peer.steps
  assert np.isfinite(losses).all()


def test_rows_of_a_text_continue_in_the_next_batch():
  source = problems.text(4)()
  order = data.sequential(source.size, 32)
  now, then = (source.read(order(0, i).index) for i in range(2))
  assert (now["labels"][:, :-1] == now["input_ids"][:, 1:]).all()
  assert (now["labels"][:, -1] == then["input_ids"][:, 0]).all()


@pytest.mark.slow
def test_the_tax_is_measured():
  make_task, make_source, size, _, per_call = tax.PROBLEMS[
    "digits_mlp, 20 steps a call as in its config"
  ]
  parts = (make_task, make_source, size, 100, per_call)
  assert tax.measure_ratio(*parts, repeats=1)["ratio"] > 0


def test_a_mutant_changes_one_expression_and_no_text_for_people(tmp_path):
  source = tmp_path / "module.py"
  source.write_text(
    'def f(x: int = 1) -> float:\n  """Adds 1."""\n  log.info("%d", 2)\n'
    "  if x < 3 and x:\n    x += max(x, -4)\n  return x * 0.5\n"
  )
  found = sites.find_sites(tmp_path, source)
  changes = {(site.first_line, site.old, site.new) for site in found}
  assert changes == {
    (1, "1", "2"),
    (3, 'log.info("%d", 2)', "pass"),
    (4, "x < 3 and x", "not (x < 3 and x)"),
    (4, "and", "or"),
    (4, "<", "<="),
    (4, "3", "4"),
    (5, "x += max(x, -4)", "pass"),
    (5, "max", "min"),
    (5, "-", ""),
    (5, "4", "5"),
    (6, "*", "/"),
    (6, "0.5", "1.0"),
  }
  lines = {site.mutated_line(source.read_text()) for site in found}
  assert {
    "pass",
    "if x < 4 and x:",
    "x += max(x, 4)",
    "return x / 0.5",
  } <= lines


def test_a_comparison_with_a_peer_is_paired_by_example():
  random = np.random.default_rng(0)
  peer = random.random(1000) < 0.8
  own = np.array([peer, peer, peer])
  assert compare(own, peer)["interval"] == [0.0, 0.0]
  assert compare(own, peer)["outcome"] == "equal"
  own[:, np.flatnonzero(~peer)[:20]] = True
  result = compare(own, peer)
  assert result["difference"] == pytest.approx(0.02)
  # That of 1,000 draws with the probability 0.02.
  deviation = np.sqrt(0.02 * 0.98 / 1000)
  expected = 0.02 + 1.96 * deviation * np.array([-1, 1])
  np.testing.assert_allclose(result["interval"], expected, atol=2e-3)
  assert result["outcome"] == "better"
  assert compare(own[:, ~peer], ~peer[~peer])["outcome"] == "worse"


def test_the_interval_of_an_auc_is_that_of_its_deviation():
  generator = np.random.default_rng(0)
  labels = np.repeat([0, 1], 500)
  scores = generator.normal(size=(3, 1000)) + labels
  scores[0, :40] = 0.0  # Ties count one half.
  pairs = scores[:, None, labels == 1] - scores[:, labels == 0, None]
  expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean((1, 2))
  np.testing.assert_allclose(auc(scores, labels), expected, rtol=1e-6)
  peer = np.zeros_like(scores)
  result = compare_auc(scores[1:2], peer[1:2], labels)
  assert result["difference"] == pytest.approx(expected[1] - 0.5, rel=1e-6)
  # Hanley & McNeil 1982, eq. 2, with A = 0.76 and 500 of each class.
  area = expected[1]
  first, second = area / (2 - area), 2 * area**2 / (1 + area)
  variance = (area * (1 - area) + 499 * (first + second - 2 * area**2)) / 500**2
  half = np.diff(result["interval"])[0] / 2
  assert half == pytest.approx(1.96 * variance**0.5, rel=0.1)
  assert result["outcome"] == "better"
  assert compare_auc(peer, peer, labels)["outcome"] == "equal"


def test_rules_of_stress_look_at_the_vowels_alone():
  # Consonants are 4 to 6, vowels 7 and 8.
  ids = np.array([[4, 7, 5, 8, 6], [8, 4, 0, 0, 0], [4, 8, 6, 8, 7]])
  labels = np.where(ids > 6, [[1], [0], [0]], -100)
  vowels = stress_models.vowels(ids, labels)
  assert vowels.window[0].tolist() == [0, 0, 0, 4, 7, 5, 8, 6, 0]
  assert vowels.window[2].tolist() == [0, 0, 0, 0, 8, 4, 0, 0, 0]
  assert vowels.before.tolist() == [0, 1, 0, 0, 1, 2]
  assert vowels.after.tolist() == [1, 0, 0, 2, 1, 0]
  classes = ("0", "1", "2")
  first = stress_models.first_vowel(vowels, vowels, classes)
  assert first.tolist() == [1, 0, 1, 1, 0, 0]
  # 7 is 1 and 0 once each, and 8 is 0 more often.
  frequent = stress_models.by_vowel(vowels, vowels, classes)
  assert frequent.tolist() == [0] * 6
  assert vowels.features[:, -1].tolist() == [2, 2, 1, 3, 3, 3]


@pytest.mark.slow
def test_the_peer_of_the_reviews_has_the_examples_of_dlcore(tmp_path):
  subprocess.run(
    [
      sys.executable,
      "experiments/campaigns/text_peers.py",
      "--only=reviews",
      f"--folder={tmp_path}",
      f"--output={tmp_path / 'peers.json'}",
    ],
    cwd=ROOT,
    check=True,
  )
  result = json.loads((tmp_path / "peers.json").read_text())["reviews"]
  assert (result["train"], result["test"]) == (3972, 1000)
  assert 0.79 < result["accuracy"] < 0.82
  assert 0.86 < result["auc"] < 0.88

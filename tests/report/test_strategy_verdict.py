"""The verdict of a comparison on strategies of transfer."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from dlcore import report
from dlcore.report import markup

SHA256 = "ab" * 32


def write(folder, scores, strategy, *, metric="accuracy", **options):
  """Writes a group of finished runs over seeds, and returns its folder.

  Args:
    folder: of the group.
    scores: on test, by seed.
    strategy: of all runs.
    metric: of the scores.
    **options: `sha256` of the training data, `best_by`, and fields of the
      summary.
  """
  sha256 = options.pop("sha256", SHA256)
  training = {"best_by": options.pop("best_by", "-loss")}
  for seed, score in enumerate(scores):
    path = folder / f"seed_{seed}"
    (path / "assets").mkdir(parents=True)
    config = {
      "seed": seed,
      "init": {"source": "weights", "strategy": {"name": strategy}},
      "training": training,
    }
    metrics = {f"test/{metric}": score}
    summary = {"metrics": metrics, "finished": True, **options}
    splits = {"train": {"sha256": sha256}, "test": {"sha256": SHA256}}
    for name, content in {
      "config.json": config,
      "summary.json": summary,
      "assets/data.json": {"splits": splits},
    }.items():
      (path / name).write_text(json.dumps(content))
  return folder


def sentences(tmp_path, *folders):
  """Returns the sentences of the verdict, None without one."""
  page = report.compare(folders, tmp_path / "page.html").read_text()
  assert "Remarks" not in page
  parts = re.findall("<h2>Strategies(.*?)</section>", page, re.DOTALL)
  return re.findall("<p>(.*?)</p>", parts[0]) if parts else None


def test_a_frozen_probe_without_a_difference_is_as_good(tmp_path):
  one, two = (0.90, 0.93, 0.91), (0.91, 0.92, 0.92)
  known = {"intervals": {"test/accuracy": [0.89, 0.95]}}
  [text] = sentences(
    tmp_path,
    write(tmp_path / "full", one, "full", **known),
    write(tmp_path / "probe", two, "head", **known),
  )
  test = stats.ttest_rel(two, one)
  assert 100 * test.confidence_interval().low > -3
  start = "The frozen probe (probe) is as good as full: test accuracy +0.33 ± "
  assert text.startswith(start)
  assert f" points, p = {test.pvalue:.2g}, 3 seeds." in text
  assert text.endswith("test examples, 3.00 points.")


@pytest.mark.parametrize("half", [None, 0.02])
def test_few_seeds_without_a_difference_are_not_as_good(tmp_path, half):
  # A p value above 5% alone is no evidence that two are equal.
  known = {}
  if half:
    known["intervals"] = {"test/accuracy": [0.9 - half, 0.9 + half]}
  [text] = sentences(
    tmp_path,
    write(tmp_path / "full", (0.90, 0.93), "full", **known),
    write(tmp_path / "probe", (0.85, 0.75), "head", **known),
  )
  start = (
    "No difference is shown between the frozen probe (probe) and full, nor"
  )
  assert text.startswith(f"{start} excluded: test accuracy")


@pytest.mark.parametrize(("loss", "verdict"), [(2.0, "as good"), (2.9, "No")])
def test_the_margin_is_a_loss_also_where_less_is_better(
  tmp_path, loss, verdict
):
  known = {"intervals": {"test/perplexity": [1.0, 3.0]}, "metric": "perplexity"}
  [text] = sentences(
    tmp_path,
    write(tmp_path / "full", (2.0, 2.0, 2.1), "full", **known),
    write(tmp_path / "probe", (2.0, loss, 2.0), "head", **known),
  )
  assert verdict in text.split(":")[0]


def test_the_probe_is_compared_with_the_best_and_scratch_with_all(tmp_path):
  probe, tuned = (0.80, 0.81, 0.79), (0.90, 0.92, 0.91)
  found = sentences(
    tmp_path,
    write(tmp_path / "scratch", (0.60, 0.62, 0.61), "scratch"),
    write(tmp_path / "lora", (0.85, 0.86, 0.87), "lora"),
    write(tmp_path / "a", probe, "head"),
    write(tmp_path / "b", tuned, "fine_tune"),
  )
  assert len(found) == 2
  start = "Training from scratch (scratch) is worse than fine_tune (b): test"
  assert found[0].startswith(start)
  start = "The frozen probe (a) is worse than fine_tune (b): test accuracy"
  assert found[1].startswith(f"{start} {markup.with_minus('-11.00')} ± ")
  # The best of two strategies is chosen by the same scores.
  p = 2 * stats.ttest_rel(probe, tuned).pvalue
  assert f"p = {p:.2g} (corrected for the choice among 2), 3 seeds" in found[1]


def test_the_best_of_many_equal_strategies_is_no_better(tmp_path):
  rng = np.random.default_rng(49)
  groups = [
    write(tmp_path / name, 0.8 + 0.02 * rng.normal(size=5), name)
    for name in ("head", "lora", "full", "l2sp", "bitfit", "gradual")
  ]
  [text] = sentences(tmp_path, *groups)
  assert "No difference is shown" in text


def test_a_pair_is_compared_once(tmp_path):
  found = sentences(
    tmp_path,
    write(tmp_path / "a", (0.8, 0.82, 0.81), "head"),
    write(tmp_path / "b", (0.6, 0.63, 0.61), "scratch"),
  )
  assert len(found) == 1
  assert "(b) is worse than head (a)" in found[0]


def test_without_probe_and_scratch_the_two_best_are_compared(tmp_path):
  found = sentences(
    tmp_path,
    write(tmp_path / "a", (0.5, 0.52), "l2sp"),
    write(tmp_path / "b", (0.8, 0.9), "full"),
    write(tmp_path / "c", (0.7, 0.8), "lora"),
    write(tmp_path / "d", (0.75, 0.85), "full"),
  )
  assert len(found) == 1
  assert found[0].startswith("full (b) is better than lora (c): test accuracy")


@pytest.mark.parametrize(
  ("metric", "best_by", "order"),
  [
    ("perplexity", "-loss", "better"),
    ("own_error", "-own_error", "better"),
    ("own_score", "own_score", "worse"),
    ("accuracy", "-loss", "worse"),
  ],
)
def test_less_is_better_where_the_metric_says_so(
  tmp_path, metric, best_by, order
):
  options = {"metric": metric, "best_by": best_by}
  [text] = sentences(
    tmp_path,
    write(tmp_path / "a", (1.0, 1.1, 1.2), "head", **options),
    write(tmp_path / "b", (2.0, 2.1, 2.3), "full", **options),
  )
  assert f"(a) is {order} than full (b)" in text


@pytest.mark.parametrize(
  ("low", "meaning"),
  [(0.85, "overlap, so that these runs show no"), (0.5, "do not overlap")],
)
def test_single_runs_are_compared_by_their_intervals(tmp_path, low, meaning):
  own = {"test/accuracy": [low, low + 0.04]}
  other = {"test/accuracy": [0.86, 0.94]}
  [text] = sentences(
    tmp_path,
    write(tmp_path / "a", (low + 0.02,), "head", intervals=own),
    write(tmp_path / "b", (0.9,), "full", intervals=other),
  )
  score = f"{100 * low + 2:.2f}% ({100 * low:.2f}% to {100 * low + 4:.2f}%)"
  assert f"(a) has a test accuracy of {score}, full (b) of 90.00%" in text
  assert meaning in text
  assert "train.py --seeds=5" in text


def test_single_runs_without_intervals_have_their_scores(tmp_path):
  [text] = sentences(
    tmp_path,
    write(tmp_path / "a", (0.8,), "head", intervals={"test/accuracy": "x"}),
    write(tmp_path / "b", (0.9,), "full"),
  )
  assert "of 80.00%, full (b) of 90.00%. A paired test needs" in text


def test_other_data_have_no_verdict(tmp_path):
  first = write(tmp_path / "a", (0.8, 0.9), "head")
  second = write(tmp_path / "b", (0.8, 0.7), "full", sha256="cd" * 32)
  [text] = sentences(tmp_path, first, second)
  assert text.startswith("No verdict: the checksums of the data")
  third = write(tmp_path / "c", (0.8, 0.7), "full", sha256=None)
  [text] = sentences(tmp_path, first, third)
  assert text.startswith("No verdict: the checksums of the data")


def test_one_strategy_has_no_verdict(tmp_path):
  first = write(tmp_path / "a", (0.8, 0.9), "head")
  second = write(tmp_path / "b", (0.8, 0.7), "head")
  assert sentences(tmp_path, first, second) is None
  assert sentences(tmp_path, first) is None


def test_equal_scores_are_as_good(tmp_path):
  [text] = sentences(
    tmp_path,
    write(tmp_path / "a", (0.8, 0.9), "head"),
    write(tmp_path / "b", (0.8, 0.9), "full"),
  )
  assert "as good as full (b): the same test accuracy in each of 2" in text


def test_names_are_escaped(tmp_path):
  [text] = sentences(
    tmp_path,
    write(tmp_path / "<b>a", (0.8, 0.9), "<i>x"),
    write(tmp_path / "b", (0.8, 0.9), "full"),
  )
  assert "<b>a" not in text
  assert "&lt;i&gt;x (&lt;b&gt;a)" in text

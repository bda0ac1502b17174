"""Runs with several seeds: each an ordinary run, in one report."""

import logging

import numpy as np
import pytest
from scipy import stats

from dlcore import experiment, training
from dlcore.errors import UserError
from dlcore.experiment import seeds

SMALL = (
  "--config.model.name=mlp",
  "--config.model.widths=(8,)",
  "--config.data.augment.shift=0",
  "--config.training.steps=2",
  "--config.sharding.devices=1",
)


@pytest.fixture(scope="module")
def group(tiny, tmp_path_factory):
  """Runs over the seeds 3 and 4: their folder and their summaries."""
  workdir = tmp_path_factory.mktemp("group") / "runs"
  results = experiment.train_seeds(tiny(seed=3), 2, workdir, progress=False)
  return workdir, results


@pytest.mark.slow
def test_each_seed_is_an_ordinary_run(group, tiny, tmp_path):
  workdir, results = group
  assert sorted(results) == [3, 4]
  for seed in results:
    folder = experiment.RunFolder(workdir / f"seed_{seed}")
    assert folder.config()["seed"] == seed
    assert folder.read_json("summary.json") == results[seed]
  alone = experiment.train(tiny(seed=4), tmp_path / "run", progress=False)
  assert alone["metrics"] == results[4]["metrics"]
  assert results[3]["metrics"] != results[4]["metrics"]


def test_the_table_has_mean_and_interval(group):
  workdir, results = group
  table = experiment.seeds_table(results, workdir)
  scores = [result["metrics"]["test/accuracy"] for result in results.values()]
  half = stats.t.ppf(0.975, 1) * np.std(scores, ddof=1) / 2**0.5
  assert f"{np.mean(scores):.4f} ± {half:.4f}" in table
  assert "over the seeds 3, 4" in table
  assert str(workdir / "report.html") in table
  alone = experiment.seeds_table({3: results[3]}, workdir)
  assert "±" not in alone


def test_the_page_has_all_seeds(group):
  page = (group[0] / "report.html").read_text()
  assert "test accuracy, mean over 2 seeds" in page
  assert "runs/seed_4" in page


@pytest.mark.slow
def test_a_stopped_series_continues_with_the_missing_seeds(
  tiny, tmp_path, monkeypatch
):
  trained = []

  def stopping(config, workdir, **options):
    if len(trained) == 1:
      raise training.Stopped(15, 2)
    trained.append(config["seed"])
    return experiment.train(config, workdir, **options)

  with monkeypatch.context() as patch:
    patch.setattr(seeds, "train", stopping)
    with pytest.raises(training.Stopped):
      experiment.train_seeds(tiny(), 2, tmp_path / "runs", progress=False)
  assert not (tmp_path / "runs" / "report.html").exists()
  first = tmp_path / "runs" / "seed_0"
  log = (first / "metrics.jsonl").stat().st_mtime_ns
  results = experiment.train_seeds(tiny(), 2, tmp_path / "runs", progress=False)
  assert (first / "metrics.jsonl").stat().st_mtime_ns == log
  assert sorted(results) == [0, 1]
  assert (tmp_path / "runs" / "report.html").is_file()


@pytest.mark.parametrize(("seed", "count"), [(0, 0), (0, -3), (2**32 - 2, 3)])
def test_a_wrong_number_of_seeds_is_an_error(tiny, tmp_path, seed, count):
  with pytest.raises(UserError, match=f"got {count}, from the seed {seed} on"):
    experiment.train_seeds(tiny(seed=seed), count, tmp_path / "runs")
  assert not (tmp_path / "runs").exists()


def test_the_folder_of_a_run_is_not_taken_for_seeds(tiny, tmp_path):
  (tmp_path / "config.json").write_text("{}")
  with pytest.raises(UserError, match="folder of a single run"):
    experiment.train_seeds(tiny(), 2, tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.slow
def test_the_scripts_train_seeds_and_compare_them(shell, tmp_path, group):
  for bad in ("-2", "many"):
    answer = shell("train", f"--seeds={bad}", *SMALL)
    assert answer.code == 2
    assert "--seeds" in answer.err[0]
    assert "Traceback" not in "".join(answer.err)
  answer = shell("train", "--seeds=2", "--config.seed=3", *SMALL)
  assert answer.code == 0, answer.err
  assert "±" in answer.out
  (folder,) = (tmp_path / "runs").iterdir()
  assert folder.name.startswith("digits_cnn,")
  assert folder.name.endswith("_seeds")
  assert f"--workdir={folder.relative_to(tmp_path)} holds" in answer.out
  page = folder / "report.html"
  page.unlink()
  for arguments, path in (
    ((folder,), page),
    ((folder, group[0]), "comparison.html"),
    ((folder, group[0], "--output=own.html"), "own.html"),
    ((group[0] / "seed_3",), group[0] / "seed_3" / "report.html"),
  ):
    answer = shell("report", *map(str, arguments))
    assert (answer.code, answer.out) == (0, f"{path}\n"), answer.err
    assert (tmp_path / path).is_file()
  answer = shell("report", str(folder), str(folder))
  assert answer.code == 2
  assert len(answer.err) == 3


def test_equal_messages_of_a_series_are_logged_once(caplog):
  logger = logging.getLogger("dlcore")
  with seeds.messages_once():
    for _ in range(2):
      logger.warning("%d rows were skipped", 3)
    logger.warning("%d rows were skipped", 4)
  logger.warning("3 rows were skipped")
  assert [record.getMessage()[0] for record in caplog.records] == list("343")

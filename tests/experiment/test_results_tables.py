"""The results of runs as text for the terminal."""

from dlcore.experiment.results_tables import results_table, seeds_table

RESULT = {
  "metrics": {
    "test/exact_match_of_all": 0.5,
    "test/mean_absolute_error": 123456789.0,
    "valid/a_long_name/loss": 1.0,
  },
  "step": 1,
  "best_step": 1,
  "parameters": 1,
  "seconds": 1.0,
  "examples_per_second": 1.0,
}


def test_a_folder_whose_name_is_not_utf_8_can_be_printed():
  for text in (
    results_table(RESULT, "\udcff"),
    seeds_table({0: RESULT, 1: RESULT}, "\udcff"),
  ):
    assert "--workdir=\\udcff" in text


def test_columns_of_long_names_and_values_stay_apart():
  head, *rows = results_table(RESULT, "runs/x").splitlines()[:3]
  assert head.split() == ["exact_match_of_all", "mean_absolute_error", "loss"]
  assert rows[0].split() == ["test", "0.5000", "123456789.0000"]
  assert rows[1].split() == ["valid/a_long_name", "1.0000"]
  assert len(head) == len(rows[1])


def test_a_run_no_better_than_the_trivial_answer_says_so():
  result = RESULT | {
    "metrics": {"valid/accuracy": 0.99, "test/loss": 0.1, "test/accuracy": 0.5},
    "trivial": {"valid/accuracy": 0.5, "test/accuracy": 0.5},
    "trivial_answer": "always 'cat'",
  }
  last = results_table(result, "x").splitlines()[-1]
  assert "no better than always 'cat': test/accuracy is 0.5000" in last
  assert "optim.learning_rate" in last
  better = result | {"trivial": {"test/accuracy": 0.4, "test/loss": 0.2}}
  assert "no better" not in results_table(better, "x")


def test_the_metric_that_chose_the_best_step_decides():
  result = RESULT | {
    "metrics": {"test/accuracy": 0.5, "test/balanced_accuracy": 0.8},
    "trivial": {"test/accuracy": 0.9, "test/balanced_accuracy": 0.5},
  }
  assert "no better" in results_table(result, "x")
  chosen = result | {"best_by": "balanced_accuracy"}
  assert "no better" not in results_table(chosen, "x")


def test_equal_scores_of_another_rounding_are_no_better():
  result = RESULT | {
    "metrics": {"test/accuracy": 0.6666667},
    "trivial": {"test/accuracy": 2 / 3},
  }
  assert "no better" in results_table(result, "x")


def test_an_error_above_that_of_the_trivial_answer_is_no_better():
  result = RESULT | {"metrics": {"test/rmse": 2.0}}
  text = results_table(result | {"trivial": {"test/rmse": 1.5}}, "x")
  assert "no better than the trivial answer" in text
  text = results_table(result | {"trivial": {"test/rmse": 2.5}}, "x")
  assert "no better" not in text


def test_a_repeated_run_does_not_show_its_time_as_new():
  text = results_table(RESULT, "x", repeated=True)
  assert "already finished" in text
  assert "examples/s" not in text

"""Titles, formats and the order of metrics, listed or not."""

import math

import pytest

from dlcore.report.metric_display import METRICS, display, format_metric, rank


@pytest.mark.parametrize(
  ("name", "title", "value", "text"),
  [
    ("accuracy", "accuracy", 0.98889, "98.89%"),
    ("f1", "F1", 0.5, "50.00%"),
    ("loss", "loss", 0.031249, "0.03125"),
    ("r2", "R²", -0.25, "\N{MINUS SIGN}0.25"),
    ("rmse", "RMSE", 12345.6, "12,346"),
    # Metrics of a new kind of task.
    ("top5_accuracy", "top5 accuracy", 0.25, "25.00%"),
    ("tree_depth", "tree depth", 0.0712345, "0.07123"),
    # Values that a share cannot have are not shown as percentages.
    ("accuracy", "accuracy", 42.0, "42"),
    ("accuracy", "accuracy", math.nan, "not finite"),
  ],
)
def test_a_metric_has_a_title_and_a_format(name, title, value, text):
  assert display(name).title == title
  assert format_metric(name, value) == text


def test_listed_metrics_come_first_in_the_order_of_the_table():
  names = ["top_k", *reversed(METRICS)]
  assert sorted(names, key=rank) == [*METRICS, "top_k"]

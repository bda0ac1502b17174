"""Scores of several runs at equal steps and at equal wall time."""

import json
import re

import pytest

from dlcore import report
from dlcore.report import curve_reader, curves, run, wall_time


def log(folder, points, *, seconds=1.0, start=0.0, first=1):
  """Writes a log of `points` validation accuracies, one every 10 steps.

  Args:
    folder: of the log.
    points: the accuracies.
    seconds: of a step.
    start: seconds before the first step.
    first: the number of the first evaluation.
  """
  folder.mkdir(parents=True, exist_ok=True)
  lines = []
  for number, accuracy in enumerate(points, first):
    step = 10 * number
    time = start + seconds * 10 * (number - first + 1)
    lines.append({"step": step, "split": "train", "loss": 1, "seconds": time})
    lines.append({"step": step, "split": "valid", "accuracy": accuracy})
  with (folder / "metrics.jsonl").open("a") as file:
    file.write("".join(json.dumps(line) + "\n" for line in lines))


def finish(folder, *, seed=0, accuracy=0.5, phases=(), **summary):
  """Writes the other files of a finished run."""
  (folder / "assets").mkdir(parents=True, exist_ok=True)
  config = {"seed": seed, "task": {"name": "classification"}}
  content = {"metrics": {"test/accuracy": accuracy}, "finished": True}
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "summary.json").write_text(json.dumps({**content, **summary}))
  if phases:
    records = {"phases": [{"steps": steps} for steps in phases]}
    (folder / "assets" / "phases.json").write_text(json.dumps(records))
  return folder


def page(tmp_path, *folders):
  path = report.compare(folders, tmp_path / "comparison.html")
  return path.read_text(encoding="utf-8")


def section(text, start):
  """Returns the section whose heading begins with `start`, or None."""
  parts = re.findall(rf"<h2>{start}(.*?)</section>", text, re.DOTALL)
  return parts[0] if parts else None


def table(text):
  part = section(text, "Equal steps and time")
  rows = re.findall("<tr>(.*?)</tr>", part, re.DOTALL)
  cells = [re.findall("<t[hd].*?>(.*?)</t[hd]>", row) for row in rows]
  return [[re.sub("<.*?>", "", cell) for cell in row] for row in cells]


def test_runs_are_compared_at_the_step_and_time_of_the_shortest(tmp_path):
  # Of so many steps the first is the shortest, of time the second.
  log(tmp_path / "slow", (0.3, 0.6), seconds=4.0)
  log(tmp_path / "fast", (0.1, 0.2, 0.5, 0.7), seconds=1.0)
  names = ("slow", "fast")
  rows = table(page(tmp_path, *(finish(tmp_path / n) for n in names)))
  assert rows == [
    ["", "steps", "at step 20", "time", "after 40.0 s", "steps after 40.0 s"],
    ["slow", "20", "60.00%", "1 min 20 s", "30.00%", "10"],
    ["fast", "40", "20.00%", "40.0 s", "70.00%", "40"],
  ]


def test_a_run_that_was_not_evaluated_by_then_has_no_score(tmp_path):
  log(tmp_path / "late", (0.9,), start=100.0)
  log(tmp_path / "early", (0.5, 0.6))
  names = ("late", "early")
  rows = table(page(tmp_path, *(finish(tmp_path / n) for n in names)))
  assert rows[1][-2:] == ["\N{EN DASH}", "\N{EN DASH}"]
  assert rows[2][-2:] == ["60.00%", "20"]


def test_the_phases_of_a_run_count_to_its_steps_and_time(tmp_path):
  folder = tmp_path / "phases"
  log(folder / "phases" / "0", (0.2, 0.3))
  log(folder, (0.6,), start=20.0)  # The same process.
  finish(folder, phases=(20, 10))
  log(tmp_path / "one", (0.1, 0.2, 0.3, 0.4))
  text = page(tmp_path, folder, finish(tmp_path / "one"))
  assert table(text)[1][:4] == ["phases", "30", "60.00%", "30.0 s"]
  content = run.read(folder)
  assert wall_time.clock(content).values.tolist() == [10, 20, 30]
  assert wall_time.clock(content).steps.tolist() == [10, 20, 30]


def test_the_time_of_stopped_processes_is_added(tmp_path):
  folder = tmp_path / "run"
  log(folder / "phases" / "0", (0.1, 0.2))  # Ends after 20 s.
  log(folder, (0.3,), start=2.0)  # Another process, 12 s.
  log(folder, (0.4, 0.5), first=2)  # A third one, 20 s.
  content = run.read(finish(folder, phases=(20, 30)))
  times = wall_time.clock(content)
  assert times.values.tolist() == [10, 20, 32, 42, 52]
  assert times.steps.tolist() == [10, 20, 30, 40, 50]


def test_a_process_that_continues_a_stopped_run_through_phases(tmp_path):
  folder = tmp_path / "run"
  log(folder / "phases" / "0", (0.1,), start=30.0)  # 40 s, then stopped.
  log(folder / "phases" / "0", (0.2,), first=2)  # Another process, 10 s,
  log(folder, (0.3,), start=10.0)  # which trains the next phase as well.
  content = run.read(finish(folder, phases=(20, 10)))
  assert wall_time.clock(content).values.tolist() == [40, 50, 60]


def test_the_points_of_a_long_log_keep_their_times(tmp_path):
  log(tmp_path, [0.5] * 4000)
  _, clock = curve_reader.read(tmp_path / "metrics.jsonl", [])
  assert len(clock.steps) == curve_reader.MAX_POINTS
  assert clock.seconds.tolist() == clock.steps.tolist()


def test_seeds_have_means_and_intervals(tmp_path):
  for name, values in (("a", (0.5, 0.7)), ("b", (0.2, 0.4))):
    for seed, value in enumerate(values):
      log(tmp_path / name / f"seed_{seed}", (value,))
      finish(tmp_path / name / f"seed_{seed}", seed=seed)
  rows = table(page(tmp_path, tmp_path / "a", tmp_path / "b"))
  assert [row[2].split(" ±")[0] for row in rows[1:]] == ["60.00%", "30.00%"]
  assert all("±" in row[2] for row in rows[1:])


def test_the_time_of_a_group_is_that_of_its_slowest_run(tmp_path):
  for name, times in (("a", (1.0, 2.0)), ("b", (9.0, 9.0))):
    for seed, seconds in enumerate(times):
      log(tmp_path / name / f"seed_{seed}", (0.5,), seconds=seconds)
      finish(tmp_path / name / f"seed_{seed}", seed=seed)
  rows = table(page(tmp_path, tmp_path / "a", tmp_path / "b"))
  assert rows[0][4] == "after 20.0 s"
  assert rows[1][4].startswith("50.00%")
  assert rows[2][4] == "\N{EN DASH}"


def test_validation_is_plotted_over_the_wall_time(tmp_path):
  for name, seconds in (("a", 1.0), ("b", 60.0)):
    log(tmp_path / name, (0.1, 0.2, 0.3), seconds=seconds)
    finish(tmp_path / name)
  text = page(tmp_path, tmp_path / "a", tmp_path / "b")
  part = section(text, "Validation over wall time")
  assert re.findall("<figcaption><b>(.*?)</b>", part) == ["valid accuracy"]
  assert "wall time, min" in part  # Half an hour.
  curve = wall_time.over_time(run.read(tmp_path / "b"), "accuracy")["valid"]
  assert curve.steps.tolist() == [600, 1200, 1800]


@pytest.mark.parametrize(
  ("seconds", "unit"), [(0, "s"), (599, "s"), (600, "min"), (36_000, "h")]
)
def test_long_times_have_larger_units(seconds, unit):
  assert wall_time.time_unit(seconds) == unit


def test_different_machines_are_reported(tmp_path):
  for name in ("a", "b"):
    log(tmp_path / name, (0.1,))
    finish(tmp_path / name, machine=f"cpu {name}")
  text = page(tmp_path, tmp_path / "a", tmp_path / "b")
  assert "on different machines: compare the steps" in text


@pytest.mark.parametrize("time", ["x", -1, True, None, 1e300])
def test_logs_without_times_are_compared_at_equal_steps(tmp_path, time):
  for name in ("a", "b"):
    log(tmp_path / name, (0.1, 0.2))
    path = finish(tmp_path / name) / "metrics.jsonl"
    text = re.sub(r'"seconds": [\d.]+', f'"seconds": {json.dumps(time)}', (
      path.read_text()
    ))  # fmt: skip
    path.write_text(text)
  text = page(tmp_path, tmp_path / "a", tmp_path / "b")
  assert table(text)[0] == ["", "steps", "at step 20"]
  assert section(text, "Validation over wall time") is None
  assert "Remarks" not in text


def test_the_curves_of_a_comparison_have_all_phases(tmp_path):
  folder = tmp_path / "phases"
  log(folder / "phases" / "0", (0.2, 0.3))
  log(folder, (0.6,), start=20.0)
  finish(folder, phases=(20, 10))
  log(tmp_path / "one", (0.1,))
  text = page(tmp_path, folder, finish(tmp_path / "one"))
  assert "0.6 at 30" in section(text, "Curves")
  assert curves.phase_starts(run.read(folder)) == [20]

"""Curves and trained parameters of a run of several phases."""

import json

from dlcore.report import curves, phase_table, run


def write(folder, steps):
  """Writes a run of phases of so many steps, with a loss at each step."""
  for number, count in enumerate(steps):
    last = number == len(steps) - 1
    path = folder if last else folder / "phases" / str(number)
    path.mkdir(parents=True, exist_ok=True)
    lines = [
      json.dumps({"step": step, "split": "train", "loss": 10.0 * number + step})
      for step in range(1, count + 1)
    ]
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
  (folder / "assets").mkdir()
  phases = [
    {"strategy": "gradual", "steps": count, "trained": 3, "frozen": 4,
     "modules": ["head"]}
    for count in steps
  ]  # fmt: skip
  (folder / "assets" / "phases.json").write_text(json.dumps({"phases": phases}))
  return folder


def test_the_curves_of_all_phases_follow_one_another(tmp_path):
  content = run.read(write(tmp_path, (2, 3, 1)))
  joined, begins = curves.joined(content, "loss")
  assert joined["train"].steps.tolist() == [1, 2, 3, 4, 5, 6]
  assert joined["train"].values.tolist() == [1, 2, 11, 12, 13, 21]
  assert begins == [2, 5]


def test_each_phase_has_a_row(tmp_path):
  section = str(phase_table.phase_table(run.read(write(tmp_path, (2, 3)))))
  assert section.count("<tr>") == 3
  assert "The strategy is gradual." in section
  assert phase_table.phase_table(run.read(tmp_path / "missing")) is None


def test_a_malformed_record_does_not_prevent_the_page(tmp_path):
  folder = write(tmp_path, (2, 3))
  for phases in (
    {"phases": 3},
    {"phases": [None, {"steps": "x", "modules": 7}]},
    {"phases": [{"steps": 1e300}, {"steps": -4}]},
    [],
  ):
    (folder / "assets" / "phases.json").write_text(json.dumps(phases))
    content = run.read(folder)
    curves.curves(content)
    phase_table.phase_table(content)

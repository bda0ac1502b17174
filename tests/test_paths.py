"""Paths that no file system takes are errors in three lines."""

from pathlib import Path

import pytest

from dlcore import data, experiment, report, storage, transfer
from dlcore.errors import UserError

PATHS = {"long": "a" * 5000, "of a null byte": "\0"}
READERS = {
  "a table": lambda path: data.load("table_csv", path=path, target="y"),
  "images": lambda path: data.load("image_folder", path=path),
  "a data_dir": lambda path: data.load("mnist", data_dir=path, download=False),
  "a config": lambda path: experiment.read_config(path, {}, near=Path(".")),
  "inputs": lambda path: list(experiment.predict("run", [path])),
  "a run": experiment.evaluate,
  "weights": transfer.from_pretrained,
  "ids": transfer.load_special_ids,
  "a tokenizer": transfer.load_tokenizer,
  "a report": lambda path: report.compare([path, "run"], Path("page.html")),
  "checkpoints": storage.Checkpoints,
  "seeds": lambda path: experiment.train_seeds({"seed": 0}, 2, path),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", READERS)
def test_a_path_that_no_file_system_takes_is_refused(
  name, path, tmp_path, monkeypatch
):
  monkeypatch.setenv("DLCORE_CACHE", str(tmp_path))
  with pytest.raises(UserError) as error:
    READERS[name](PATHS[path])
  assert len(error.value.lines) <= 3


@pytest.mark.parametrize("path", PATHS)
def test_a_cache_that_no_file_system_takes_is_not_used(path, tmp_path):
  table = tmp_path / "table.csv"
  rows = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(40))
  table.write_text(f"x,y\n{rows}")
  settings = {"path": str(table), "target": "y", "cache_dir": PATHS[path]}
  assert data.load("table_csv", **settings).train.size > 20

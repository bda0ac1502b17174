"""Paths that no file system takes are errors in three lines."""

from pathlib import Path

import pytest

from dlcore import data, experiment, report, transfer
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

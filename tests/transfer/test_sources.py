"""What a source may be called, and what is told of what it is not."""

import numpy as np
import pytest

from dlcore import transfer
from dlcore.errors import UserError
from dlcore.transfer import safetensors, sources


def refused(source, *told, opens=sources.find):
  with pytest.raises(UserError) as error:
    opens(source)
  for text in told:
    assert text in str(error.value)
  assert len(error.value.lines) == 3
  assert all(line.isprintable() for line in error.value.lines)
  return error.value.lines


@pytest.mark.parametrize(
  ("source", "todo"),
  [
    ("HF:org/x", "write hf:org/x,"),
    ("Hf:gpt2@v1", "write hf:gpt2@v1,"),
    ("https://huggingface.co/org/x/tree/main", "write hf:org/x,"),
    ("http://example.com/x.safetensors", "download it"),
    ("org/x", "write hf:org/x for a name on the hub"),
    ("gpt2", "write hf:gpt2 for a name on the hub"),
    ("runs/model.safetensors", "check the path, from the folder"),
    ("~nobody/x.npz", "check the path, from the folder"),
    ("/nope/\0/x", "check the path, from the folder"),
  ],
)
@pytest.mark.parametrize("opens", [sources.find, transfer.load_tokenizer])
def test_names_that_are_no_paths_get_a_hint(source, todo, opens):
  refused(source, "no such file or folder", todo, opens=opens)


def test_the_home_of_the_user_is_found(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  safetensors.write(tmp_path / "x.safetensors", {"a": np.ones(2)})
  assert list(sources.find("~/x.safetensors").arrays) == ["a"]


def test_a_link_in_place_of_checkpoints_is_refused(tmp_path):
  (tmp_path / "other").mkdir()
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "other")
  refused(tmp_path / "run", "a link", "put the folder itself")

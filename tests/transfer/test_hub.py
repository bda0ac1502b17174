"""Downloads from the hub, with a substitute for its client."""

import json
import sys
import threading
import time
import types

import numpy as np
import pytest

from dlcore.errors import UserError, install_hint
from dlcore.transfer.io import hub, safetensors, sources


class Client(types.ModuleType):
  """A client with a cache whose files are links into a folder of blobs."""

  def __init__(self, cache, answer):
    super().__init__("huggingface_hub")
    self.root = cache / "models--org--name"
    self.answer = answer
    self.downloads = []

  def snapshot_download(
    self, repo_id, revision, allow_patterns, local_files_only=False
  ):
    folder = self.root / "snapshots" / "0123abc"
    if local_files_only and not folder.exists():
      raise FileNotFoundError("not in the cache")
    if not local_files_only:
      self.downloads.append((repo_id, revision, allow_patterns))
      blob = self.root / "blobs" / "4567"
      safetensors.write(blob, {"a": np.ones(2)})
      folder.mkdir(parents=True)
      (folder / "model.safetensors").symlink_to("../../blobs/4567")
    return str(folder)

  def HfApi(self):  # noqa: N802  The client's own name.
    return types.SimpleNamespace(model_info=lambda name, **_: self.answer())


def info(**sizes):
  files = [
    types.SimpleNamespace(rfilename=name.replace("_", "."), size=size)
    for name, size in sizes.items()
  ]
  return types.SimpleNamespace(siblings=files)


@pytest.fixture
def client(monkeypatch, tmp_path):
  def install(answer):
    installed = Client(tmp_path, answer)
    monkeypatch.setitem(sys.modules, "huggingface_hub", installed)
    return installed

  return install


def refused(name, *expected):
  with pytest.raises(UserError) as error:
    sources.open_weights(name)
  for text in expected:
    assert text in str(error.value)
  assert len(error.value.lines) == 3


def test_a_second_load_uses_the_cache(client, caplog):
  caplog.set_level("INFO", "dlcore")
  installed = client(lambda: info(model_safetensors=3_000_000, README_md=7))
  for _ in range(2):
    weights = sources.open_weights("hf:org/name@v1")
    np.testing.assert_array_equal(weights.arrays["a"], np.ones(2))
  assert installed.downloads == [("org/name", "v1", list(hub.PATTERNS))]
  assert caplog.messages == ["downloading hf:org/name@v1: 3.0 MB"]


@pytest.fixture
def snapshot(client, tmp_path):
  """A folder of the cache that `snapshot_download` returned."""
  installed = client(lambda: info(model_safetensors=3))
  sources.open_weights("hf:org/name")
  return installed.root / "snapshots" / "0123abc"


def test_a_folder_of_the_cache_is_loaded_by_its_path(
  snapshot, tmp_path, monkeypatch
):
  (tmp_path / "disk").symlink_to(snapshot.parents[2])
  monkeypatch.chdir(snapshot)
  for path in (
    *(snapshot, str(snapshot), snapshot / "model.safetensors", "."),
    tmp_path / "disk" / "models--org--name" / "snapshots" / "0123abc",
  ):
    np.testing.assert_array_equal(
      sources.open_weights(path).arrays["a"], np.ones(2)
    )


def test_links_of_other_layouts_are_refused(snapshot, tmp_path):
  root = snapshot.parents[1]
  for name, subfolder in {
    "no model": "name/snapshots/0123abc",
    "no snapshot": "models--org--name/folder/0123abc",
    "deeper": "models--org--name/snapshots/0123abc/deeper",
    "above": "models--org--name/snapshots",
  }.items():
    folder = tmp_path / name / subfolder
    folder.mkdir(parents=True)
    (tmp_path / name / subfolder.split("/")[0] / "blobs").mkdir()
    blob = tmp_path / name / subfolder.split("/")[0] / "blobs" / "4567"
    blob.write_bytes((root / "blobs" / "4567").read_bytes())
    (folder / "model.safetensors").symlink_to(blob)
    refused(folder, "a link")
    refused(folder / "model.safetensors", "a link")


def test_links_out_of_the_blobs_are_refused(snapshot, tmp_path):
  root, file = snapshot.parents[1], snapshot / "model.safetensors"
  (root / "blobs" / "4567").rename(tmp_path / "4567")
  # From blob to elsewhere, and to elsewhere in the model's folder.
  (root / "blobs" / "4567").symlink_to(tmp_path / "4567")
  refused(snapshot, "a link")
  (root / "refs").mkdir()
  (root / "refs" / "4567").write_bytes((tmp_path / "4567").read_bytes())
  file.unlink()
  file.symlink_to("../../refs/4567")
  refused(snapshot, "a link")
  # The folder of blobs itself leads elsewhere.
  file.unlink()
  file.symlink_to("../../blobs/4567")
  (root / "blobs" / "4567").unlink()
  (root / "blobs").rmdir()
  (root / "blobs").symlink_to(tmp_path)
  refused(snapshot, "a link")
  refused(file, "a link")


def interrupted(installed):
  """Downloads the index and the second of three files, then stops.

  Returns the folder and a function that downloads the rest.
  """
  folder = installed.root / "snapshots" / "0123abc"
  folder.mkdir(parents=True)
  (installed.root / "blobs").mkdir()
  locations = {
    key: f"model-0000{i + 1}-of-00003.safetensors"
    for i, key in enumerate("abc")
  }

  def put(name, write):
    if not (folder / name).exists():
      write(installed.root / "blobs" / name)
      (folder / name).symlink_to(f"../../blobs/{name}")

  def shard(key):
    array = {key: np.ones(2)}
    put(locations[key], lambda blob: safetensors.write(blob, array))

  text = json.dumps({"weight_map": locations})
  put("model.safetensors.index.json", lambda blob: blob.write_text(text))
  shard("b")
  return folder, lambda: [shard(key) for key in locations]


def test_an_interrupted_download_is_completed(client, caplog):
  caplog.set_level("INFO", "dlcore")
  sizes = {f"model-0000{i}-of-00003.safetensors": i * 10**6 for i in (1, 2, 3)}
  installed = client(lambda: info(**sizes))
  folder, rest = interrupted(installed)
  fetch = installed.snapshot_download

  def snapshot_download(repo_id, revision, allow_patterns, **cached):
    if not cached:
      installed.downloads.append(repo_id)
      rest()
    return str(folder) if not cached else fetch(repo_id, *[""] * 2, **cached)

  installed.snapshot_download = snapshot_download
  for _ in range(2):
    assert set(sources.open_weights("hf:org/name").arrays) == {"a", "b", "c"}
  assert installed.downloads == ["org/name"]
  assert caplog.messages == ["downloading hf:org/name: 4.0 MB"]


def test_missing_files_are_reported_without_a_network(client):
  def fail():
    raise OSError("offline")

  installed = client(fail)
  folder, rest = interrupted(installed)
  one, three = (f"model-0000{i}-of-00003.safetensors" for i in (1, 3))
  refused("hf:org/name", f"a cache without {one}, {three}, and OSError: offl")

  # Newer clients raise for an incomplete folder.
  error = FileNotFoundError("incomplete")
  error.snapshot_path = str(folder)
  installed.snapshot_download = lambda **_: (_ for _ in ()).throw(error)
  refused("hf:org/name", f"a cache without {one}, {three}, and OSError: offl")
  index = folder / "model.safetensors.index.json"
  kept = index.rename(folder / "kept")
  refused("hf:org/name", f"a cache without {index.name}, and")
  kept.rename(index)
  rest()  # All weights are present; other files may be missing.
  assert set(sources.open_weights("hf:org/name").arrays) == {"a", "b", "c"}


def test_a_folder_of_the_hub_is_never_read_as_a_run(client):
  installed = client(lambda: info(model_safetensors=3))
  sources.open_weights("hf:org/name")
  folder = installed.root / "snapshots" / "0123abc"
  (installed.root / "blobs" / "4567").replace(folder / "model.safetensors")
  (installed.root / "blobs").rmdir()
  (folder / "checkpoints").mkdir()
  assert list(sources.open_weights("hf:org/name").arrays) == ["a"]


def test_links_out_of_the_cache_are_refused(client, tmp_path):
  installed = client(lambda: info(model_safetensors=3))
  sources.open_weights("hf:org/name")
  link = installed.root / "snapshots" / "0123abc" / "model.safetensors"
  link.unlink()
  safetensors.write(tmp_path / "elsewhere", {"a": np.ones(2)})
  link.symlink_to(tmp_path / "elsewhere")
  refused("hf:org/name", "a link")


def test_without_the_client_the_error_contains_the_command(monkeypatch):
  monkeypatch.setitem(sys.modules, "huggingface_hub", None)
  refused("hf:org/name", "not installed", install_hint("hub"))


def test_without_a_response_it_fails_within_5_seconds(client, monkeypatch):
  assert hub.TIMEOUT < 5
  monkeypatch.setattr(hub, "TIMEOUT", 0.1)
  released = threading.Event()
  client(released.wait)
  start = time.monotonic()
  refused(
    "hf:org/name", "no response in 0.1 s", "the network", "copy the folder"
  )
  assert time.monotonic() - start < 2
  released.set()


def test_an_error_of_the_client_is_one_line(client):
  def fail():
    raise OSError("404 Client Error\nmore\nlines")

  client(fail)
  refused("hf:org/name", "got OSError: 404 Client Error")
  client(lambda: info(pytorch_model_bin=7))
  refused("hf:org/name", ".safetensors", "pytorch.model.bin")


@pytest.mark.parametrize("name", ["gpt2", "bert-base-uncased"])
def test_old_repositories_have_no_organization(name, client):
  installed = client(lambda: info(model_safetensors=3))
  sources.open_weights(f"hf:{name}")
  assert installed.downloads[0][0] == name


@pytest.mark.parametrize(
  "name",
  [
    *("", "a/b/c", "../x", "..", "a/b c", "/etc/passwd", "a/..", ".a", "a/"),
    *("a--b", "a/b..c", "a/b.git", "a/b-", "é", "a\n", "b" * 97),
  ],
)
def test_invalid_names_do_not_reach_the_client(name, client):
  installed = client(lambda: pytest.fail("asked"))
  refused(f"hf:{name}", "org/name")
  assert not installed.downloads

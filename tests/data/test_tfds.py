import gzip
import io
import json
import os
import pathlib
import pickle
import resource
import socket
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image
from tfds_archives import forbid_network

from dlcore import data
from dlcore.data.tfds import stand_ins
from dlcore.data.tfds.package import import_tfds
from dlcore.errors import UserError

MNIST = pathlib.Path(__file__).parents[3] / "shared" / "data" / "mnist"


@pytest.fixture
def no_network(monkeypatch):
  forbid_network(monkeypatch)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """Settings that write to a temporary folder."""
  root = tmp_path_factory.mktemp("tfds")
  return {"data_dir": str(root / "data"), "cache_dir": str(root / "cache")}


def _add(archive, name, content):
  entry = tarfile.TarInfo(name)
  entry.size = len(content)
  archive.addfile(entry, io.BytesIO(content))


def _cifar(folder, coarse=False, seed=0):
  """Writes a small archive in CIFAR's format; returns its records in order."""
  random = np.random.default_rng(seed)
  kind, classes = ("100", 100) if coarse else ("10", 10)
  files = (
    ["train", "test"]
    if coarse
    else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
  )
  prefix = "cifar-100-binary/" if coarse else "cifar-10-batches-bin/"
  records = {"train": [], "test": []}
  folder.mkdir(parents=True, exist_ok=True)
  with tarfile.open(folder / f"cifar-{kind}-binary.tar.gz", "w:gz") as archive:
    for name in files:
      labels = np.arange(40 if coarse else 20) % classes
      if coarse and name == "test":
        labels[:] = 0  # Not the label -1 of examples without one.
      planes = random.integers(0, 256, (len(labels), 3, 32, 32), np.uint8)
      bytes_of = [
        bytes([label // 5, label] if coarse else [label]) + plane.tobytes()
        for label, plane in zip(labels, planes, strict=True)
      ]
      _add(archive, f"{prefix}{name}.bin", b"".join(bytes_of))
      records["test" if "test" in name else "train"] += zip(
        planes.transpose(0, 2, 3, 1), labels, strict=True
      )
    names = "\n".join(f"class {i}" for i in range(classes)).encode()
    if coarse:
      _add(archive, f"{prefix}fine_label_names.txt", names)
      coarse_names = "\n".join(f"group {i}" for i in range(20)).encode()
      _add(archive, f"{prefix}coarse_label_names.txt", coarse_names)
    else:
      _add(archive, f"{prefix}batches.meta.txt", names + b"\n\n")
  return records


@pytest.fixture
def small_cifar(tmp_path):
  """Settings of a small CIFAR-10 that is not prepared yet."""
  _cifar(tmp_path / "files")
  return {
    "data_dir": str(tmp_path / "data"),
    "cache_dir": str(tmp_path / "cache"),
    "manual_dir": str(tmp_path / "files"),
    "verify": False,
  }


def _pairs(images, labels):
  """Returns a set of (image, label), for data in an unknown order."""
  return sorted(
    (image.tobytes(), int(label))
    for image, label in zip(images, labels, strict=True)
  )


def _all(*sources):
  """Returns images and labels of some sources, read by index."""
  batches = [source.read(np.arange(source.size)) for source in sources]
  return [
    np.concatenate([batch[name] for batch in batches])
    for name in ("image", "label")
  ]


@pytest.fixture(scope="module")
def mnist(folders):
  # A user's clone has no such folder, and the tests download nothing.
  if not MNIST.is_dir():
    pytest.skip("the original MNIST files are not available")
  with pytest.MonkeyPatch.context() as patch:
    forbid_network(patch)
    settings = {**folders, "manual_dir": str(MNIST), "download": False}
    return data.load("mnist", **settings), settings


@pytest.mark.slow
def test_mnist_is_prepared_without_network_and_equals_the_original_files(mnist):
  splits, _ = mnist
  for prefix, parts in (
    ("train", [splits.train, splits.valid]),
    ("t10k", [splits.test]),
  ):
    images = gzip.decompress(
      (MNIST / f"{prefix}-images-idx3-ubyte.gz").read_bytes()
    )
    labels = gzip.decompress(
      (MNIST / f"{prefix}-labels-idx1-ubyte.gz").read_bytes()
    )
    images = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    labels = np.frombuffer(labels, np.uint8, offset=8)
    assert _pairs(*_all(*parts)) == _pairs(images, labels)
  assert splits.train.info.schema.classes == tuple(map(str, range(10)))
  share = np.bincount(splits.valid.arrays["label"]) / np.bincount(
    np.concatenate([splits.train.arrays["label"], splits.valid.arrays["label"]])
  )
  np.testing.assert_allclose(share, 0.1, atol=1e-3)


@pytest.mark.slow
def test_prepared_mnist_is_read_from_the_cache_without_importing_tfds(mnist):
  splits, settings = mnist
  program = (
    "import sys\n"
    "from dlcore import data\n"
    f"splits = data.load('mnist', **{settings!r})\n"
    "print(splits.train.info.sha256)\n"
    "loaded = {name.split('.')[0] for name in sys.modules}\n"
    "print(sorted(loaded & {'tensorflow', 'tensorflow_datasets', 'jax',"
    " 'flax', 'absl', 'sklearn', 'grain', 'PIL'}))\n"
  )
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", program],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.split("\n")[:2] == [splits.train.info.sha256, "[]"]


@pytest.mark.slow
def test_garbage_of_multiprocessing_does_not_disturb_the_import():
  program = """
import gc, multiprocessing, sys
from dlcore.data.tfds.package import import_tfds
gc.disable()
cycle = [multiprocessing.get_context("spawn").Lock()]
cycle.append(cycle)
del cycle

def collect(frame, event, value):
  if frame.f_code.co_name == "_lazy_import":
    gc.collect()

sys.setprofile(collect)
print(import_tfds().__name__)
"""
  done = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    check=True,
  )
  assert (done.stdout, done.stderr) == ("tensorflow_datasets\n", "")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_png_stand_in_loses_nothing(channels, dtype):
  random = np.random.default_rng(0)
  image = random.integers(0, np.iinfo(dtype).max, (5, 7, channels), dtype)
  content = stand_ins.encode_png(image).numpy()
  with Image.open(io.BytesIO(content)) as decoded:
    pixels = np.asarray(decoded).reshape(image.shape)
  # Pillow reads sixteen bits a channel as eight where there are several.
  expected = image >> 8 if dtype == np.uint16 and channels > 1 else image
  np.testing.assert_array_equal(pixels, expected)


def test_tensorflow_is_never_imported():
  assert "tensorflow" not in sys.modules


@pytest.fixture
def few_open_files():
  """Lowers the limit of open files; it yields the highest limit."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
  yield hard
  resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_preparation_may_open_thousands_of_files(few_open_files, small_cifar):
  if 0 <= few_open_files < 4096:
    # A process cannot raise its limit above the hard one of the machine.
    pytest.skip("the hard limit of open files is below 4,096")
  data.load("cifar10", **small_cifar)
  assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 4096


@pytest.mark.parametrize("channels", [1, 3])
def test_the_jpeg_stand_in_keeps_size_channels_and_quality(channels):
  import_tfds()
  from tensorflow_datasets.core.utils import lazy_imports_utils as lazy

  image = np.full((5, 7, channels), 90, np.uint8)
  with stand_ins.stand_ins(lambda: None):
    content = lazy.tensorflow.image.encode_jpeg(image).numpy()
    decoded = lazy.tensorflow.image.decode_jpeg(content, channels).numpy()
  # JPEG may round a constant image by a unit or two.
  np.testing.assert_allclose(decoded.astype(int), 90, atol=2)
  assert decoded.shape == image.shape
  stream = io.BytesIO()
  Image.new("L" if channels == 1 else "RGB", (7, 5)).save(
    stream, "jpeg", quality=95
  )
  tables = [Image.open(io.BytesIO(content)), Image.open(stream)]
  assert tables[0].quantization == tables[1].quantization


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("coarse", [False, True])
def test_cifar_from_an_archive_in_the_real_format(folders, tmp_path, coarse):
  records = _cifar(tmp_path, coarse)
  splits = data.load(
    "cifar100" if coarse else "cifar10",
    manual_dir=str(tmp_path),
    verify=False,
    valid_fraction=0.2 if not coarse else 0.0,
    **folders,
  )
  train = [part for part in (splits.train, splits.valid) if part]
  assert _pairs(*_all(*train)) == _pairs(*zip(*records["train"], strict=True))
  assert _pairs(*_all(splits.test)) == _pairs(
    *zip(*records["test"], strict=True)
  )
  assert splits.train.info.schema.classes[1] == "class 1"


@pytest.mark.usefixtures("no_network")
def test_the_streamed_set_equals_the_one_in_memory(small_cifar):
  resident = data.load("cifar10", **small_cifar)
  limit = sum(part.arrays["image"].nbytes for part in resident)
  at_limit = data.load("cifar10", in_memory_limit=limit, **small_cifar)
  assert at_limit.train.arrays is not None
  above = data.load("cifar10", in_memory_limit=limit - 1, **small_cifar)
  assert above.train.arrays is None
  streamed = data.load("cifar10", in_memory_limit=0, **small_cifar)
  for one, other in zip(resident, streamed, strict=True):
    assert other.arrays is None
    assert one.size == other.size
    for name, array in one.arrays.items():
      read = other.read(np.arange(one.size, dtype=np.int32))
      np.testing.assert_array_equal(array, read[name])
  assert resident.train.info.schema == streamed.train.info.schema
  limits = {"in_memory_limit": 0, "valid_fraction": 0.0}
  whole = data.load("cifar10", **limits, **small_cifar)
  assert whole.valid is None
  assert whole.train.size == resident.train.size + resident.valid.size


@pytest.mark.usefixtures("no_network")
def test_a_streamed_source_travels_to_another_process(small_cifar):
  read = data.load("cifar10", in_memory_limit=0, **small_cifar).train.read
  rows = np.arange(7, dtype=np.int32)
  first = read(rows)
  again = pickle.loads(pickle.dumps(read))(rows)
  np.testing.assert_array_equal(first["image"], again["image"])


@pytest.mark.usefixtures("no_network")
def test_a_file_with_another_checksum_is_refused(folders, tmp_path):
  _cifar(tmp_path, seed=1)
  home = tmp_path / "data"
  settings = {**folders, "data_dir": str(home), "manual_dir": str(tmp_path)}
  with pytest.raises(UserError, match="checksum") as caught:
    data.load("cifar10", **settings)
  assert len(caught.value.lines) == 3
  assert "verify=False" in str(caught.value)
  assert not list(home.rglob("*.array_record*"))
  data.load("cifar10", verify=False, **settings)


def _refused(match, name, **settings):
  with pytest.raises(UserError, match=match) as caught:
    data.load(name, **settings)
  assert len(caught.value.lines) <= 3
  assert not any("\n" in line for line in caught.value.lines)
  return str(caught.value)


@pytest.mark.usefixtures("no_network")
def test_a_damaged_archive_is_reported(small_cifar, tmp_path):
  archive = tmp_path / "files" / "cifar-10-binary.tar.gz"
  archive.write_bytes(archive.read_bytes()[:5000])
  _refused("expected to prepare cifar10", "cifar10", **small_cifar)


def test_a_folder_that_cannot_be_created_is_reported(small_cifar, tmp_path):
  (tmp_path / "data").write_text("a file where the folder should be")
  _refused("expected a writable folder", "cifar10", **small_cifar)


def test_download_false_never_asks_the_network(folders, no_network):
  text = _refused(
    "download=False", "cifar100", download=False, **_other(folders)
  )
  assert "manual_dir" in text
  assert "cifar-100-binary.tar.gz" in text


def test_offline_it_fails_within_five_seconds(folders, no_network):
  start = time.monotonic()
  text = _refused("no answer from", "kmnist", **_other(folders))
  assert time.monotonic() - start < 5
  assert "manual_dir" in text


def test_a_silent_name_server_does_not_delay_the_error(folders, monkeypatch):
  def look_up(*arguments, **settings):
    time.sleep(3)
    raise OSError("no name server answers")

  monkeypatch.setattr(stand_ins, "CONNECT_TIMEOUT", 0.5)
  monkeypatch.setattr(socket, "getaddrinfo", look_up)
  start = time.monotonic()
  _refused("no answer from", "fashion_mnist", **_other(folders))
  assert time.monotonic() - start < 2


def _other(folders):
  return {**folders, "data_dir": folders["data_dir"] + "_empty"}


def test_imagenet_names_the_files_that_it_needs(folders, tmp_path):
  _refused("ILSVRC2012", "imagenet2012", image_size=64, **_other(folders))
  _refused(
    "manual_dir", "imagenet2012", manual_dir="nowhere", **_other(folders)
  )


def _jpeg(rows, columns, value):
  stream = io.BytesIO()
  picture = np.full((rows, columns, 3), value, np.uint8)
  Image.fromarray(picture).save(stream, "jpeg")
  return stream.getvalue()


@pytest.mark.usefixtures("no_network")
def test_imagenet_from_archives_in_the_real_format(tmp_path):
  files = tmp_path / "files"
  files.mkdir()
  with tarfile.open(files / "ILSVRC2012_img_train.tar", "w") as archive:
    for label in ("n01440764", "n01443537"):
      inner = io.BytesIO()
      with tarfile.open(fileobj=inner, mode="w") as pictures:
        for i in range(10):
          content = _jpeg(20 + i, 30, 10 * i)
          _add(pictures, f"{label}_{i}.JPEG", content)
      _add(archive, f"{label}.tar", inner.getvalue())
  with tarfile.open(files / "ILSVRC2012_img_val.tar", "w") as archive:
    for i in range(1, 4):
      _add(archive, f"ILSVRC2012_val_{i:08}.JPEG", _jpeg(25, 25, 100))
  with tarfile.open(files / "ILSVRC2012_img_test.tar", "w") as archive:
    _add(archive, "ILSVRC2012_test_00000001.JPEG", _jpeg(25, 25, 100))
  settings = {
    "data_dir": str(tmp_path / "data"),
    "cache_dir": str(tmp_path / "cache"),
    "manual_dir": str(files),
  }
  _refused("expected image_size", "imagenet2012", **settings)
  splits = data.load(
    "imagenet2012", image_size=16, in_memory_limit=0, **settings
  )
  assert [part.size for part in splits if part] == [20, 3]
  assert splits.test is None
  batch = splits.train.read(np.arange(20, dtype=np.int32))
  assert batch["image"].shape == (20, 16, 16, 3)
  assert sorted(batch["label"]) == [0] * 10 + [1] * 10
  means = batch["image"].mean(axis=(1, 2, 3))
  np.testing.assert_allclose(
    sorted(means), np.repeat(np.arange(10) * 10, 2), atol=2
  )


def test_an_unknown_builder_is_reported_with_the_nearest(folders, tmp_path):
  _refused("did you mean 'mnist'", "tfds", builder="mnits", **folders)
  _refused("expected builder", "tfds", **folders)
  damaged = tmp_path / "mnist/3.0.1/features.json"
  damaged.parent.mkdir(parents=True)
  damaged.write_text("null")
  _refused("expected builder", "tfds", data_dir=str(tmp_path))


def test_damaged_records_are_reported(tmp_path, small_cifar):
  data.load("cifar10", **small_cifar)
  records = next(tmp_path.rglob("*train.array_record*"))
  whole = records.read_bytes()
  records.write_bytes(whole[: len(whole) // 2])
  _refused("delete", "cifar10", **small_cifar)
  records.unlink()
  _refused("delete", "cifar10", **small_cifar)
  (records.parent / "dataset_info.json").unlink()
  _refused("delete", "cifar10", **small_cifar)


@pytest.mark.parametrize(
  ("name", "content", "reason"),
  [
    ("dataset_info.json", b"[" * 100_000, "nested more than 64 deep"),
    ("dataset_info.json", b'{"splits": 3}', "splits"),
    ("dataset_info.json", b"\xff", "utf-8"),
    ("features.json", b"null", "expected a JSON object"),
    ("features.json", b'{"a": [{"type": "mine.A"}]}', "module: 'mine.A'"),
    ("features.json", b'{"pythonClassName": "mine.A"}', "module: 'mine.A'"),
    ("label.labels.txt", None, "larger than 4,194,304 bytes"),
  ],
)
def test_damaged_metadata_is_reported(
  tmp_path, small_cifar, name, content, reason
):
  data.load("cifar10", **small_cifar)
  path = next(tmp_path.rglob(name))
  if content is None:
    with path.open("r+b") as file:
      file.truncate(1 << 40)  # A sparse file.
  else:
    path.write_bytes(content)
  settings = small_cifar | {"cache_dir": str(tmp_path / "another")}
  with pytest.raises(UserError, match=reason) as error:
    data.load("cifar10", **settings)
  assert "delete the folder" in error.value.lines[-1]
  assert len(error.value.lines) == 3


@pytest.mark.parametrize(
  ("train", "test"), [("0", "0"), ("20", "-5"), ("20", str(10**12))]
)
def test_other_numbers_of_examples_than_there_are_are_refused(
  train, test, tmp_path, small_cifar
):
  data.load("cifar10", **small_cifar)
  path = next(tmp_path.rglob("dataset_info.json"))
  content = json.loads(path.read_text())
  for split in content["splits"]:
    split["shardLengths"] = [{"train": train, "test": test}[split["name"]]]
  path.write_text(json.dumps(content))
  settings = small_cifar | {"cache_dir": str(tmp_path / "another")}
  expected = "a train split with examples|examples in files of"
  with pytest.raises(UserError, match=expected):
    data.load("cifar10", **settings)


@pytest.mark.parametrize(
  ("make", "reason"),
  [
    (os.mkfifo, "not a plain file"),
    (lambda path: path.symlink_to(path), "symbolic links"),
  ],
)
def test_records_that_are_no_plain_file_are_refused(
  make, reason, tmp_path, small_cifar
):
  data.load("cifar10", **small_cifar)
  records = next(tmp_path.rglob("*train.array_record*"))
  records.unlink()
  make(records)
  settings = small_cifar | {"cache_dir": str(tmp_path / "another")}
  _refused(reason, "cifar10", **settings)


def test_an_unknown_feature_is_reported_with_the_nearest(small_cifar):
  _refused(
    "did you mean 'label'", "cifar10", target_feature="labl", **small_cifar
  )
  _refused(
    "an image or a numeric tensor", "cifar10", input_feature="id", **small_cifar
  )
